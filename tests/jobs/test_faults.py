"""Each fault once: the target is absent or whole, one line says why, and the next run is undisturbed.

`scripts/break_it.py` does the same hundreds of times at random steps and moments.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import faults
import pytest
from engine.standins import Darker
from video import media

from vdeblur.cli.main import main
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.video.verify import verify

CASES = [
    ("decode", 5, "garbage", 0, ""),
    ("engine", 1, "error", 1, "fell over"),
    ("engine", 7, "error", 1, "fell over"),
    ("network", 9, "nan", 0, ""),
    ("network", 9, "size", 1, ""),
    ("encode", 9, "encoder", 1, "out.mkv: cannot be written (Generic error"),
    ("mux", 25, "ENOSPC", 1, "out.mkv: disk full"),
    ("mux", 25, "EIO", 1, "out.mkv: cannot be written (Input/output error)"),
    ("rename", 1, "EACCES", 1, "out.mkv: cannot be written (Permission denied)"),
    ("sync", 1, "EIO", 1, "Input/output error"),
    ("decode", 9, "vanish", 2, "no such file"),
    ("decode", 9, "grow", 0, ""),
    ("encode", 9, "SIGINT", 130, "stopped"),
    ("mux", 20, "SIGTERM", 130, "stopped"),
]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Darker()

    def load(*words: Any, **options: Any) -> Deblurrer:
        return Deblurrer(network, device="cpu", precision="fp32", backend="torch")

    monkeypatch.setattr(Deblurrer, "load", load)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and names")
@pytest.mark.parametrize(("site", "nth", "kind", "code", "says"), CASES, ids=lambda value: str(value))
def test_a_fault_leaves_nothing_but_its_message(
    site: str, nth: int, kind: str, code: int, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = media.make("b_frames_mkv", tmp_path)
    data = made.path.read_bytes()
    out = tmp_path / "out.mkv"
    words = [str(made.path), "-o", str(out), "--model", "mimo-unet-tiny", "--preset", "ultrafast"]
    before = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patch:
        faults.plant(site, nth, kind, patch.setattr)
        assert main(words) == code
    said = capfd.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("vdeblur: ")]
    assert len(errors) == bool(code), said
    assert says in said
    assert "Traceback" not in said
    for thread in set(threading.enumerate()) - before:
        thread.join(10)  # the progress bar's own is told to stop, not waited for
        assert not thread.is_alive(), thread.name
    assert out.exists() == (code == 0)
    left = {p.name for p in tmp_path.iterdir()} - {made.path.name, out.name}
    assert left <= {".out.mkv.vdeblur"}  # frames that are done are not thrown away
    made.path.write_bytes(data)
    assert main([*words, "--overwrite"]) == 0
    assert verify(str(made.path), str(out)).faults == ()
    assert {p.name for p in tmp_path.iterdir()} == {made.path.name, out.name}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("handler", "code"), [(signal.SIG_DFL, 130), (signal.SIG_IGN, 0)], ids=["", "nohup"])
def test_a_terminal_that_is_closed_is_ctrl_c(handler: signal.Handlers, code: int, tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            faults.plant("mux", 9, "SIGHUP", patch.setattr)
            assert main([str(made.path), "-o", str(tmp_path / "out.mp4"), "--strength", "0"]) == code
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "out.mp4").exists() == (code == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_words_that_nobody_hears_stop_no_work(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        media.write_clip(tmp_path / "in" / f"{name}.mkv", frames=3)
    (tmp_path / "in" / "broken.mkv").write_bytes(b"no video")
    hears, says = os.pipe()
    os.close(hears)
    words = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--strength", "0"]
    program = [sys.executable, "-m", "vdeblur", *words]
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=says, check=False, timeout=60)
    os.close(says)
    assert done.returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mkv", "b.mkv"]


@pytest.mark.usefixtures("stand_in")
def test_memory_that_runs_out_makes_tiles_smaller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.write_clip(tmp_path / "in.mkv", size=(640, 360), frames=8)
    words = [str(made.path), "-o", str(tmp_path / "out.mkv"), "--model", "mimo-unet-tiny"]
    with pytest.MonkeyPatch.context() as patch:
        faults.plant("network", 7, "oom", patch.setattr)
        assert main([*words, "--preset", "ultrafast"]) == 0
    said = capsys.readouterr().err
    assert said.count("out of memory: going on in tiles of ") == 1
    assert verify(str(made.path), str(tmp_path / "out.mkv")).faults == ()


PROGRAM = """
import sys, av
av.logging.set_level(av.logging.ERROR)
import faults
faults.plant("engine", 5, "error") if sys.argv.pop() == "error" else None
from vdeblur.engine.deblurrer import Deblurrer
from engine.standins import Darker
Deblurrer.load = lambda *a, **o: Deblurrer(Darker(), device="cpu", precision="fp32", backend="torch")
from vdeblur.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("ends", ["error", "well"])
def test_logging_and_frame_threads_do_not_hang_the_end(ends: str, tmp_path: Path) -> None:
    """An undrained decoder with frame threads waits for ever once FFmpeg's logging has been switched on."""
    made = media.write_clip(tmp_path / "in.mp4", frames=60, size=(320, 240), b_frames=True)
    words = [str(made.path), "-o", str(tmp_path / "out.mp4"), "--model", "mimo-unet-tiny", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, ends],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(faults.ROOT), str(faults.ROOT / "tests")])},
    )
    assert done.returncode == (1 if ends == "error" else 0), done.stderr


def test_the_entry_for_faults_reads_them_from_the_environment(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    done = subprocess.run(
        [sys.executable, faults.__file__, str(made.path), "-o", str(tmp_path / "o.mp4"), "--strength", "0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"VDEBLUR_FAULT": "mux:3:ENOSPC"},
    )
    assert done.returncode == 1, done.stderr
    assert "disk full" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [made.path.name]
