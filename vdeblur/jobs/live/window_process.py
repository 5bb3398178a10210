"""The process of the window: views come in by stdin, wishes go out by stdout, a line each.

It imports OpenCV and never PyAV (see `window`), ends when its input ends, and leaves Ctrl-C to its parent.
"""

from __future__ import annotations

import pickle
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

import cv2
import numpy as np

from vdeblur.jobs.live.canvas import MARGIN, MODES, Box, compose, text_size, write_box
from vdeblur.jobs.live.meter import Meter
from vdeblur.jobs.live.view import Picture, View

TITLE = "vdeblur live"
LARGEST = (1280, 720)  # width and height of the window at first; its user may make it larger
POLL_MS = 5
KEYS = {" ": "freeze", "+": "stronger", "=": "stronger", "-": "weaker", "s": "snapshot", "r": "record"}
"""What they wish; `=` is the key of `+` without Shift."""
HELP = (
    "space   freeze, go on",
    "c   split, side by side, result alone",
    "mouse   drag the line",
    "+ -   strength",
    "s   snapshot: both pictures as PNG",
    "r   record, stop recording",
    "f   full screen",
    "?   this help",
    "q, Esc   end",
)


class Inbox:
    """The newest view that has come; filled by a thread of its own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream  # the thread's own
        self._lock = threading.Lock()  # guards the two below
        self._newest: View | None = None
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> View | None:
        with self._lock:
            newest, self._newest = self._newest, None
            return newest

    @property
    def ended(self) -> bool:
        with self._lock:
            return self._ended

    def _read(self) -> None:
        try:
            while True:
                view = pickle.load(self._stream)
                with self._lock:
                    self._newest = view
        except (EOFError, pickle.UnpicklingError):
            with self._lock:
                self._ended = True


class Screen:
    """The window, what is drawn in it, and what its keys and mouse have set."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._views = 0
        self._drawn: tuple[object, ...] = ()  # what the window shows; drawn again when that changes
        self._fresh_s: float | None = None  # capture time of a picture that was drawn and not yet seen
        self._seen_s = 0.0
        self._meter = Meter()
        self._mode = MODES[0]
        self._split = 0.5
        self._box = Box(0, 0, *LARGEST)
        self._help = self._full = False
        # Free ratio: the canvas has the window's size already. GUI_NORMAL: Qt's tool bar has keys of its own.
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(TITLE, *LARGEST)
        cv2.setMouseCallback(TITLE, self._mouse)
        waiting = np.zeros((LARGEST[1], LARGEST[0], 3), np.uint8)
        write_box(waiting, ["waiting for the first picture"], MARGIN, MARGIN)
        cv2.imshow(TITLE, waiting)

    def answer(self) -> bool:
        """Keys and events; False when the window has been closed."""
        try:
            key = cv2.waitKeyEx(POLL_MS if self._fresh_s is None else 1)
            # GTK says -1 whatever happens; a closed window has no other property either.
            seen = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)
            if seen == 0 or (seen < 0 and cv2.getWindowProperty(TITLE, cv2.WND_PROP_AUTOSIZE) < 0):
                return False
        except cv2.error:  # Qt: its last window is gone
            return False
        if self._fresh_s is not None:
            now = time.monotonic()
            self._meter.shown(now, now - self._fresh_s)
            self._fresh_s = None
        return key == -1 or self._key(key)

    def show(self, view: View) -> None:
        if self._view is None:
            height, width = view.after.shape[:2]
            scale = min(LARGEST[0] / width, LARGEST[1] / height, 1)
            cv2.resizeWindow(TITLE, max(round(width * scale), 320), max(round(height * scale), 180))
        if view.captured_at_s != self._seen_s:
            self._fresh_s = self._seen_s = view.captured_at_s
        self._view = view
        self._views += 1

    def draw(self) -> None:
        """Nothing where the window shows it already."""
        if self._view is None:
            return
        width, height = cv2.getWindowImageRect(TITLE)[2:]
        if width <= 0 or height <= 0:  # a window system that does not say
            width, height = LARGEST
        wanted = (self._views, self._mode, self._split, self._help, width, height)
        if wanted == self._drawn:
            return
        self._drawn = wanted
        view = self._view
        canvas, self._box = compose(view.before, view.after, self._mode, self._split, width, height)
        now = time.monotonic()
        self._write(
            canvas, self._meter.onto(view.status, now).lines(now - view.captured_at_s), view.status.message
        )
        cv2.imshow(TITLE, canvas)

    def _write(self, canvas: Picture, figures: list[str], message: str | None) -> None:
        height, width = canvas.shape[:2]
        write_box(canvas, figures, MARGIN, MARGIN)
        foot = height - text_size([""])[1] - MARGIN
        if self._mode == "split":
            write_box(canvas, ["source"], MARGIN, foot)
            write_box(canvas, ["result"], width - text_size(["result"])[0] - MARGIN, foot)
        elif self._mode == "side by side":
            write_box(canvas, ["source"], MARGIN, foot)
            write_box(canvas, ["result"], width // 2 + MARGIN, foot)
        if message:
            own_width = text_size([message])[0]
            write_box(canvas, [message], max((width - own_width) // 2, 0), height * 3 // 4, loud=True)
        if self._help:
            own_width, own_height = text_size(HELP)
            write_box(canvas, HELP, max((width - own_width) // 2, 0), max((height - own_height) // 2, 0))

    def _key(self, code: int) -> bool:
        """False: the user wants to end."""
        # GTK puts Num Lock and the like above 16 bits; arrows and function keys lie above 127.
        letter = chr(code & 0xFFFF).lower() if code & 0xFFFF < 128 else ""
        match letter:
            case "q" | "\x1b":
                return False
            case "c":
                self._mode = MODES[(MODES.index(self._mode) + 1) % len(MODES)]
            case "?":
                self._help = not self._help
            case "f":
                self._full = not self._full
                full = cv2.WINDOW_FULLSCREEN if self._full else cv2.WINDOW_NORMAL
                cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN, full)
            case _ if letter in KEYS:
                print(KEYS[letter], flush=True)
        return True

    def _mouse(self, event: int, x: int, _y: int, held: int, _data: Any) -> None:
        if self._mode == "split" and (event == cv2.EVENT_LBUTTONDOWN or held & cv2.EVENT_FLAG_LBUTTON):
            self._split = min(max((x - self._box.x) / self._box.width, 0.0), 1.0)


def main() -> None:
    for name in ("SIGINT", "SIGHUP"):  # the terminal sends them to all; who shows us ends us
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    cv2.setNumThreads(1)
    screen = Screen()
    print("open", flush=True)
    inbox = Inbox(sys.stdin.buffer)
    while screen.answer() and not inbox.ended:
        if (view := inbox.take()) is not None:
            screen.show(view)
        screen.draw()


if __name__ == "__main__":
    main()
