"""Ctrl-C, SIGTERM and a terminal that is closed break off the work of a run, never its tidying up.

Python raises KeyboardInterrupt between any two instructions of the main thread: also in a `finally` that was
about to join threads, which then go on with files that are closed under them.  Inside `Interrupts` a signal
waits, but for the sections that welcome it; the first one ends the section, later ones change nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupts:
    """A context; outside the main thread, which gets no signals, it does nothing."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._welcome = False
        self._waiting = False
        self._heard = False  # it has ended a section

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if callable(signal.getsignal(number)):  # ignored ones, and those that kill, are left alone
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._waiting and not self._heard and kind is None:
            raise KeyboardInterrupt("this file was finished before")  # what would follow is not wanted

    @property
    def came(self) -> bool:
        """Whether a signal waits to be welcomed."""
        return self._waiting

    @contextmanager
    def welcome(self) -> Iterator[None]:
        """The first signal raises KeyboardInterrupt here, also one that came before."""
        if self._waiting:
            self._heard = True
            raise KeyboardInterrupt
        self._welcome = True
        try:
            yield
        finally:
            self._welcome = False

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._waiting = True
        if self._welcome:
            self._welcome, self._heard = False, True
            raise KeyboardInterrupt
