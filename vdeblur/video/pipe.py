"""Stdin as a file for PyAV, which can be opened twice: what the first look read from a pipe is read again."""

from __future__ import annotations

import select
import sys
from typing import Any

from vdeblur.errors import InputError
from vdeblur.video import soundness

_MOST_HEAD = 256 << 20  # bytes of a pipe that are remembered until its first picture has been seen


class _Replay:
    """A pipe as a file for PyAV: first what an earlier look has read, then the rest."""

    name = "-"

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._head = bytearray()  # all that was read while it may be wanted again
        self._at = 0
        self._last = False
        self._stopped = False
        self.read_bytes = 0

    def restart(self, last: bool) -> _Replay:
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
            self.read_bytes += len(data)
            if not self._last:
                self._head += data
                if len(self._head) > _MOST_HEAD:
                    raise InputError(f"stdin: no picture within its first {_MOST_HEAD >> 20} MiB")
        self._at += len(data)
        return data

    def stop(self) -> None:
        """From any thread: who waits for more has come to the end."""
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

    def is_cut(self) -> bool:
        """Whether the pipe ended before the size that the file's own head promises."""
        promised = soundness.promised_size(bytes(self._head[:4096]))
        while promised is not None and self.read_bytes < promised:
            if not (data := self._wait(1 << 16)):
                return True
            self.read_bytes += len(data)
        return False


_pipe: _Replay | None = None


def stop() -> None:
    """Whoever waits for more from stdin gets the end instead."""
    if _pipe is not None:
        _pipe.stop()


def is_empty() -> bool:
    """After reading: whether nothing came through at all."""
    return _pipe is not None and not _pipe.read_bytes


def is_cut() -> bool:
    """After reading: whether what came through stdin was not all of the file."""
    return _pipe is not None and _pipe.is_cut()


class _Seekable:
    """Stdin that is a file (`< clip.mp4`): read from where it stood at the start, without closing it."""

    name = "-"

    def __init__(self, raw: Any) -> None:
        self.read, self.seek, self.tell = raw.read, raw.seek, raw.tell
        raw.seek(0)

    def seekable(self) -> bool:
        return True


def open_stdin(last: bool) -> _Replay | _Seekable:
    global _pipe
    raw = sys.stdin.buffer
    if raw.isatty():
        raise InputError("-: stdin is a terminal; pipe a video into it")
    if raw.seekable():
        return _Seekable(raw)
    if _pipe is None:
        _pipe = _Replay(raw)
    return _pipe.restart(last)
