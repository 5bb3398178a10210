"""Where the program's words go: what cannot be shown, or not any more, is no reason to fail.

A letter that a terminal does not know is replaced.  Messages that nobody can get, because the terminal was
closed or the log's disk is full, are dropped, and the work goes on.  Results (stdout) are another matter:
half of them must not be taken for all.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from io import RawIOBase, TextIOWrapper
from typing import Any, BinaryIO


def prepare() -> None:
    """For the process that is the program; those who call `main` keep their own streams."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stderr, TextIOWrapper):
        known = sys.stderr
        sys.stderr = TextIOWrapper(
            _Patient(known.buffer),
            encoding=known.encoding,
            errors="replace",
            line_buffering=True,
        )


class _Patient(RawIOBase):
    """A stream of bytes that takes what it cannot write for written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        with suppress(OSError):
            self._stream.write(data)
            self._stream.flush()
        return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
