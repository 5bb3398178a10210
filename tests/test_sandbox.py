"""The sandbox of docs/security.md: its command works as it stands, writes nowhere else, reaches nothing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from video import media

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
COMMAND = re.search(r"```sh\n(bwrap .*?)```", PAGE, re.DOTALL)


def _possible() -> bool:
    if shutil.which("bwrap") is None:
        return False
    trial = ["bwrap", "--ro-bind", "/", "/", "--unshare-net", "--unshare-pid", "true"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(not _possible(), reason="no bubblewrap here, or it may not make namespaces"),
    pytest.mark.skipif(
        any(Path(path).resolve().is_relative_to("/tmp") for path in (sys.prefix, ROOT)),
        reason="this checkout lies below /tmp, which the sandbox hides",
    ),
]


def _sandboxed(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """The documented command with other words behind `vdeblur`, which is this checkout's."""
    assert COMMAND is not None
    here = f"{sys.executable} -m vdeblur"
    command = re.sub(r"vdeblur in\.mp4.*", f"{here} {words}", COMMAND[1], flags=re.DOTALL)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture
def clips() -> Iterator[Path]:
    """Not below /tmp, which is another one inside."""
    folder = Path("/var/tmp") / f"vdeblur-sandbox-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_it_does_its_work_and_nothing_else(clips: Path, tmp_path: Path) -> None:
    media.write_clip(clips / "in.mp4", frames=3)
    done = _sandboxed(clips, "in.mp4 -o out.mp4 --strength 0 --memory 8G")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in clips.iterdir()) == ["in.mp4", "out.mp4"]
    outside = ROOT / f"{clips.name}.mp4"  # a name that nobody has
    done = _sandboxed(clips, f"in.mp4 -o {outside} --strength 0")
    assert done.returncode == 2
    assert not outside.exists()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        done = _sandboxed(clips, f"info http://127.0.0.1:{server.getsockname()[1]}/clip.mp4")
        assert done.returncode == 2
        with pytest.raises(TimeoutError):
            server.accept()
