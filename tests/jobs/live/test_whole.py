"""The whole command in a real window: what its user does, sees and gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from jobs.live.display import await_, virtual_display
from PIL import Image
from video import media


@pytest.mark.slow
def test_a_file_in_a_window_with_recording_and_snapshot(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "clip.mp4", frames=40, size=(320, 180))
    (tmp_path / "display").mkdir()
    with virtual_display(tmp_path / "display") as display:
        words = ["live", "clip.mp4", "--loop", "--model", "mimo-unet-tiny"]
        running = subprocess.Popen(
            [sys.executable, "-m", "vdeblur", *words],
            env=os.environ | {"DISPLAY": display.name},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            display.focus()
            await_(lambda: display.box()[2:] == (320, 180), "a picture in the window", 60)
            display.key("r")
            await_(lambda: any("vdeblur-" in path.name for path in tmp_path.iterdir()), "a recording")
            display.key("s")
            await_(lambda: len(list(tmp_path.glob("*-after.png"))) == 1, "a snapshot")
            display.key("r")
            await_(lambda: len(list(tmp_path.glob("vdeblur-*.mp4"))) == 1, "the recording under its name")
            display.key("q")
            _, said = running.communicate(timeout=30)
        finally:
            running.kill()
    assert running.returncode == 0, said
    assert " shown (" in said
    assert "Traceback" not in said
    assert [Image.open(path).size for path in tmp_path.glob("*.png")] == [(320, 180)] * 2
    (recording,) = tmp_path.glob("vdeblur-*.mp4")
    with av.open(recording) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times
    assert times == sorted(set(times))
    left = {path.suffix for path in tmp_path.iterdir() if path.is_file()}
    assert left == {".mp4", ".png"}  # nothing half-written
