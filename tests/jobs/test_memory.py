"""Memory is flat however long a clip is; what cannot stay within `--memory` is refused, else cut to fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from video import media

from vdeblur.cli.main import main
from vdeblur.cli.values import amount
from vdeblur.engine import budget
from vdeblur.engine.budget import free_bytes
from vdeblur.errors import InputError
from vdeblur.jobs import memory
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video.picture_files import write_png

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_limit_afterwards() -> Iterator[None]:
    yield
    budget.keep_within(None)


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("1.5g", 3 << 29), ("900M", 900 << 20), ("900MiB", 900 << 20)]
)
def test_amounts(text: str, size: int) -> None:
    assert amount(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "8GM", "much", "0", "inf", "nanG"])
def test_what_is_no_amount_is_refused_in_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["in.mp4", "--memory", text]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_too_little_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", size=(1280, 720), frames=2)
    with pytest.raises(InputError, match=r"this run needs about .* --preset"):
        make_plan(str(made.path), tmp_path / "out.mp4", Options(memory=300 * MIB))
    with pytest.raises(InputError, match="needs about"):
        make_plan(str(made.path), tmp_path / "out.mp4", Options(memory=100 * MIB, strength=0.0))
    plan = make_plan(
        str(made.path), tmp_path / "out.mp4", Options(memory=250 * MIB, strength=0.0, preset="ultrafast")
    )
    assert memory.needed_bytes(plan) <= 250 * MIB


def test_pictures_are_refused_too_and_need_no_encoder_that_looks_ahead(tmp_path: Path) -> None:
    write_png(tmp_path / "s.png", np.zeros((1200, 2000, 3), np.uint8))
    with pytest.raises(InputError, match=r"needs about \d+M; give more$"):
        make_plan(str(tmp_path / "s.png"), None, Options(memory=100 * MIB, strength=0.0))
    make_plan(str(tmp_path / "s.png"), None, Options(memory=250 * MIB, strength=0.0))


def test_before_and_after_beside_each_other_take_twice_the_encoder(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", size=(640, 360), frames=2)
    one, both = (
        make_plan(str(made.path), tmp_path / "out.mp4", Options(strength=0.0, compare=how))
        for how in ("split", "side")
    )
    assert memory.needed_bytes(both) - memory.PROGRAM == 2 * (memory.needed_bytes(one) - memory.PROGRAM)


def test_what_is_free_is_what_the_budget_leaves() -> None:
    before = free_bytes("cpu")
    budget.keep_within(budget.resident() + 50 * MIB)
    assert free_bytes("cpu") <= min(before, 51 * MIB)
    budget.keep_within(1)
    assert free_bytes("cpu") == 0
    budget.keep_within(None)
    assert budget.left() is None


def test_the_engine_leaves_room_for_the_encoder(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", size=(640, 360), frames=2)
    plan = make_plan(str(made.path), tmp_path / "out.mp4", Options(memory=1 << 30))
    limit = memory.for_tiles(plan)
    assert limit is not None
    assert limit < 1 << 30
    assert memory.for_tiles(make_plan(str(made.path), tmp_path / "out.mp4", Options())) is None


PROGRAM = """
import sys
from vdeblur.cli.main import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads resident memory from /proc (Linux)")
def test_the_peak_of_a_run_stays_within(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", size=(1280, 720), frames=3)
    words = [str(made.path), "-o", str(tmp_path / "out.mkv"), "--model", "mimo-unet-tiny", "--quiet"]
    words += ["--backend", "torch", "--preset", "ultrafast", "--memory", "560M"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False, timeout=240
    )
    code, peak = (int(word) for word in done.stdout.split()[-2:])
    assert code == 0, done.stderr
    assert peak <= 560


LONG = """
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
        [sys.executable, "-c", LONG, str(made.path), str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 32
