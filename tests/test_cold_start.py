"""What needs neither weights nor a device is answered without importing torch, rich windows or OpenCV."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import sys
from vdeblur.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
heavy = sorted({"torch", "cv2", "skimage", "openvino"} & set(sys.modules))
print(f"\\ncode={code or 0} heavy={heavy}")
"""


def answer(*words: str, folder: Path) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=60,
    )
    return done.stdout.splitlines()[-1], done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["weights", "list"], 0),
        (["missing.mp4"], 2),
        (["notes.txt"], 2),
        (["empty"], 2),
        (["--strength", "7", "missing.mp4"], 2),
        (["--no-such-option"], 2),
        (["--device", "toaster", "missing.mp4"], 2),
        ([], 2),
        (["info", "missing.mp4"], 2),
        (["data", "check", "empty"], 2),
        (["eval", "missing.mp4"], 2),
        (["bench", "--size", "7x7"], 2),
        (["bench", "--compare", "missing.json"], 2),
        (["eval", "empty", "--protocol", "mimo"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_light_commands_load_nothing_heavy(words: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a video\n" * 4000, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    last, everything = answer(*words, folder=tmp_path)
    assert last == f"code={code} heavy=[]", everything
    assert "Traceback" not in everything


def test_importing_the_package_is_silent_and_light(tmp_path: Path) -> None:
    program = "import sys, vdeblur; print(sorted({'torch', 'av', 'numpy', 'rich'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_public_names_are_listed_before_they_are_used() -> None:
    program = "import vdeblur; print(*dir(vdeblur))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"Deblurrer", "deblur_array", "deblur_file"} <= set(done.stdout.split())


def test_the_program_ends_beside_a_thread_that_is_stuck(tmp_path: Path) -> None:
    """As with a camera that never answers: the exit code counts, nothing is torn down under the thread."""
    stuck = """
import atexit, sys, threading, time
from vdeblur.cli.main import command
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
atexit.register(print, "torn down")
sys.argv[1:] = ["missing.mp4"]
command()
"""
    run = [sys.executable, "-c", stuck]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


EARLY = """
import builtins
whole = builtins.__import__
def stopped(name, *more):
    if name == "vdeblur.cli.main":
        raise KeyboardInterrupt
    return whole(name, *more)
from vdeblur.__main__ import command
builtins.__import__ = stopped
command()
"""


def test_ctrl_c_while_the_program_is_being_loaded_is_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "vdeblur: stopped\n")
