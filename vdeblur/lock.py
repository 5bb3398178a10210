"""One run for each folder of work: a lock that holds as long as the process lives, and no longer."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from vdeblur.errors import InputError

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)


class Lock:
    """Holds `folder` (made where it is not there) for one run; the system lets go of it when that dies.

    target   what the other run is writing, for the message

    Raises InputError where another run holds it.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        path = folder / "lock"
        while True:
            try:
                folder.mkdir(exist_ok=True)
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            except FileNotFoundError:
                if folder.parent.is_dir():
                    continue  # another run has just removed the folder
                raise
            except OSError as error:
                raise InputError(f"{folder}: cannot be made or used ({error.strerror})") from error
            if not _lock(self._file):
                os.close(self._file)
                raise InputError(f"{target}: another run is writing it; wait for it, or name another with -o")
            with suppress(OSError):
                if os.path.samestat(os.stat(path), os.fstat(self._file)):
                    return
            os.close(self._file)  # what we hold has been removed meanwhile

    def release(self) -> None:
        """Let others in; whoever removes the folder does it before."""
        os.close(self._file)


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # File systems without locks (some network ones) are used without: better than not at all.
            return error.errno not in _BUSY
        return True
