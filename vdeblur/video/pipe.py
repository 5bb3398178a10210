"""Stdin as a file for PyAV, which can be opened twice: what the first look read from a pipe is read again."""

from __future__ import annotations

import select
import sys
from typing import Any

from vdeblur.errors import InputError
from vdeblur.video import soundness

_MOST_HEAD = 256 << 20  # bytes of a pipe that are remembered until its first picture has been seen


class _Pipe:
    """As a file for PyAV: first what an earlier look has read, then the rest."""

    name = "-"

    def __init__(self) -> None:
        self._raw: Any = None  # until it is opened
        self._head = bytearray()  # all that was read while it may be wanted again
        self._at = 0
        self._last = False
        self._stopped = False
        self._read_bytes = 0

    def open(self, last: bool) -> _Pipe | _Seekable:
        """Stdin from its start; `last` for those who want it for the last time."""
        self._raw = sys.stdin.buffer
        if self._raw.isatty():
            raise InputError("-: stdin is a terminal; pipe a video into it")
        if self._raw.seekable():
            return _Seekable(self._raw)
        if self._last:
            raise InputError("-: stdin was read already and cannot be read again")
        self._at, self._last = 0, last
        return self

    def read(self, count: int) -> bytes:
        if len(self._head) > _MOST_HEAD and not self._last:
            return b""  # said once: PyAV prints what is raised more often
        if self._at < len(self._head):
            data = bytes(self._head[self._at : self._at + count])
        else:
            data = self._wait(count)
            self._read_bytes += len(data)
            if not self._last:
                self._head += data
                if len(self._head) > _MOST_HEAD:
                    raise InputError(f"stdin: no picture within its first {_MOST_HEAD >> 20} MiB")
        self._at += len(data)
        return data

    def stop(self) -> None:
        """From any thread: whoever waits for more gets the end instead."""
        self._stopped = True

    def _wait(self, count: int) -> bytes:
        """What comes next; a sender that says nothing holds nobody who wants to stop."""
        file = getattr(self._raw, "raw", None)  # without the buffer, which would hide what is there
        if file is None or sys.platform == "win32":
            return bytes(self._raw.read1(count))
        while not select.select([file], [], [], 0.2)[0]:
            if self._stopped:
                return b""
        return file.read(count) or b""

    def is_empty(self) -> bool:
        """After reading: whether nothing came through at all."""
        return not self._read_bytes and not self._raw.seekable()

    def is_cut(self) -> bool:
        """After reading: whether it ended before the size that the file's own head promises."""
        promised = soundness.promised_size(bytes(self._head[:4096]))
        while promised is not None and self._read_bytes < promised:
            if not (data := self._wait(1 << 16)):
                return True
            self._read_bytes += len(data)
        return False


class _Seekable:
    """Stdin that is a file (`< clip.mp4`): read from where it stood at the start, without closing it."""

    name = "-"

    def __init__(self, raw: Any) -> None:
        self.read, self.seek, self.tell = raw.read, raw.seek, raw.tell
        raw.seek(0)

    def seekable(self) -> bool:
        return True


STDIN = _Pipe()
