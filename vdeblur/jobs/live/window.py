"""A window that shows the live picture and answers keys and mouse.

It has a process of its own (`window_process`): Qt aborts a process that finds no display, the libxcb of
OpenCV's Qt and that of PyAV hang or crash each other (github.com/PyAV-Org/PyAV/issues/978), and drawing would
cost the loop milliseconds.  Pictures go there by a pipe, the newest wins; wishes come back as lines.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress

from vdeblur.errors import MissingRuntimeError
from vdeblur.jobs.live.view import Controls, View

_PATIENCE_S = 30.0  # until the window is open


class Window:
    """A `Viewer`.

    Raises:
        MissingRuntimeError: no window can be opened here.
    """

    def __init__(self, controls: Controls) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise MissingRuntimeError(_no_window("DISPLAY is not set"))
        self._turn = threading.Condition()  # guards the two below
        self._waiting: View | None = None
        self._over = False
        self._controls = controls
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(
                # -P: whatever lies in the current folder is no part of the program.
                [sys.executable, "-P", "-m", "vdeblur.jobs.live.window_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._to, self._from = self._process.stdin, self._process.stdout
            impatience = threading.Timer(_PATIENCE_S, self._process.kill)
            impatience.daemon = True  # after a Ctrl-C the program would wait for it
            impatience.start()
            opened = False
            try:
                opened = self._from.readline().strip() == b"open"
            finally:
                impatience.cancel()
                if not opened:
                    self._process.kill()
                    self._process.communicate()
            if not opened:
                said.seek(0)
                raise MissingRuntimeError(_no_window(_reason(said.read().decode(errors="replace"))))
        for work in (self._send, self._hear):
            threading.Thread(target=work, name="window", daemon=True).start()

    def show(self, view: View) -> None:
        with self._turn:
            self._waiting = view
            self._turn.notify_all()

    def closed(self) -> bool:
        with self._turn:
            return self._over

    def close(self) -> None:
        self._end()
        self._process.kill()  # it holds nothing that could be lost
        self._process.wait()

    def _end(self) -> None:
        with self._turn:
            self._over = True
            self._turn.notify_all()

    def _send(self) -> None:
        with suppress(OSError), self._to:  # it may go at any time
            while True:
                with self._turn:
                    self._turn.wait_for(lambda: self._waiting is not None or self._over)
                    view, self._waiting = self._waiting, None
                    if self._over:
                        return
                pickle.dump(view, self._to, protocol=5)
                self._to.flush()

    def _hear(self) -> None:
        with self._from:
            for line in self._from:
                self._controls.wish(line.decode().strip())
        self._end()


def _no_window(reason: str) -> str:
    return (
        f"no window can be opened here ({reason}); --web shows it in a browser, --headless the figures only"
    )


def _reason(said: str) -> str:
    """What OpenCV or Qt said: Qt's first line tells the reason, Python's last."""
    if "function is not implemented" in said:
        return "this OpenCV is built without windows; install opencv-python instead of opencv-python-headless"
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    if not lines:
        return "OpenCV gives no reason"
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line.removeprefix("qt.qpa.xcb: ")[:200]
