"""Where the program's words go: fit for the terminal, and what cannot be shown is no reason to fail.

A letter that a terminal does not know is replaced.  Messages that nobody can get, because the terminal was
closed or the log's disk is full, are dropped, and the work goes on.  Results (stdout) are another matter:
half of them must not be taken for all.
"""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress
from io import RawIOBase, TextIOWrapper
from typing import Any, BinaryIO, TextIO


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


def fitted(text: str, stream: TextIO, column: int = 0) -> str:
    """In lines that end between words, where it goes to a terminal; later ones begin at the column."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal: whoever reads it breaks lines, or searches them
        return text
    if width <= 2 * column:
        return text
    return textwrap.fill(
        text, width, subsequent_indent=" " * column, break_long_words=False, break_on_hyphens=False
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
