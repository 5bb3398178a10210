"""A display that nobody sees (Xvfb), its mouse and keyboard (xdotool), and what is on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vdeblur.jobs.live.view import Controls, Status

TITLE = "vdeblur live"
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Display:
    """`pixels` is the whole display, `window` the inside of the live window; keys go to the live window."""

    def __init__(self, name: str, frame_buffer: Path) -> None:
        self.name, self._frame_buffer = name, frame_buffer

    def xdo(self, *words: str) -> str:
        done = subprocess.run(
            ["xdotool", *words], env=os.environ | {"DISPLAY": self.name}, capture_output=True, text=True
        )
        return done.stdout

    def key(self, name: str) -> None:
        self.xdo("key", name)
        time.sleep(0.1)  # OpenCV keeps one key: whoever types faster than it polls loses the first

    def focus(self) -> None:
        self.awaken()
        self.xdo("windowfocus", self._window_id())

    def awaken(self) -> None:
        """Until something is drawn in the window.

        On a busy machine Qt may not learn that its window is on the screen, and leave it black until it is
        taken away and comes back (docs/live.md).
        """
        await_(lambda: self.xdo("search", "--onlyvisible", "--name", TITLE), "a window")
        for seconds in (3, 3, 3, 3, 20):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if (self.window().max(axis=2) > 60).sum() > 300:  # a pointer alone has fewer
                    return
                time.sleep(0.05)
            own = self._window_id()
            self.xdo("windowunmap", "--sync", own, "windowmap", "--sync", own)
        pytest.fail("the window stays black")

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """The left button goes down at one place of the window (x, y) and up at another."""
        own = self._window_id()
        self.xdo("mousemove", "--window", own, *map(str, start), "mousedown", "1")
        self.xdo("mousemove", "--window", own, *map(str, end), "mouseup", "1")

    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the window's inside."""
        lines = self.xdo("getwindowgeometry", "--shell", self._window_id()).splitlines()
        found = dict(line.split("=") for line in lines)
        return int(found["X"]), int(found["Y"]), int(found["WIDTH"]), int(found["HEIGHT"])

    def window(self) -> Pixels:
        x, y, width, height = self.box()
        return self.pixels()[y : y + height, x : x + width]

    def pixels(self) -> Pixels:
        """Height x width x 3, RGB: the file that Xvfb keeps, in the format of xwd."""
        data = self._frame_buffer.read_bytes()
        head = np.frombuffer(data, ">u4", 25)
        width, height, stride, begin = head[4], head[5], head[12], head[0] + 12 * head[19]
        rows = np.frombuffer(data, np.uint8, stride * height, begin).reshape(height, stride)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1]

    def _window_id(self) -> str:
        return self.xdo("search", "--onlyvisible", "--name", TITLE).split()[-1]


@contextmanager
def virtual_display(folder: Path, *, manager: bool = False) -> Iterator[Display]:
    """With a window manager for full screen and closing; skips where something is missing."""
    needed = ["Xvfb", "xdotool"] + ["openbox"] * manager
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)} (Debian: apt-get install xvfb xdotool openbox)")
    told, tell = os.pipe()
    words = ["Xvfb", "-displayfd", str(tell), "-screen", "0", "1440x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        [*words, "-fbdir", str(folder)], pass_fds=[tell], stderr=subprocess.DEVNULL, cwd=folder
    )
    os.close(tell)
    running = [server]
    try:
        with os.fdopen(told) as answer:
            number = answer.readline().strip()
        if not number:
            pytest.skip("Xvfb does not start here")
        display = Display(f":{number}", folder / "Xvfb_screen0")
        if manager:
            environment = os.environ | {"DISPLAY": display.name}
            running.append(subprocess.Popen(["openbox"], env=environment, stderr=subprocess.DEVNULL))
        yield display
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(20)


def status(controls: Controls, message: str | None = None) -> Status:
    """What the loop would say."""
    return Status(
        captured_fps=30.0,
        shown_fps=24.0,
        age_p50_s=0.05,
        age_p95_s=0.08,
        captured=100,
        shown=90,
        dropped=9,
        refused=0,
        step="mimo-unet-tiny at 1/2",
        device="cpu",
        message=message,
        recording=Path("out.mp4") if controls.recording else None,
        strength=controls.strength,
        frozen=controls.frozen,
    )


def await_(holds: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Until it holds; fails when it does not in good time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain for {what}")
