"""Memory stays flat however long the clip is: decoder, network, encoder and carried sound together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from video import media

PROGRAM = """
import sys
from pathlib import Path
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, make_plan

page = 4096
seen = {}

def tell(event):
    if isinstance(event, deblur.Progress) and event.frames in (100, 2000):
        seen[event.frames] = int(Path("/proc/self/statm").read_text().split()[1]) * page

deblur.run(make_plan(sys.argv[1], Path(sys.argv[2]), Options(model="mimo-unet-tiny")), tell)
print((seen[2000] - seen[100]) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc (Linux)")
def test_memory_grows_by_less_than_32_mib_between_frame_100_and_2000(tmp_path: Path) -> None:
    made = media.write_clip(
        tmp_path / "long.mp4", frames=2000, size=(160, 96), audio=[{"codec": "aac", "language": "eng"}]
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(made.path), str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 32
