"""The file that is being written: beside its target under a hidden name, renamed when whole.

Nothing half-written ever stands under the target's name; `abandon` removes what is there, `leave` gives it a
name of its own, and neither raises.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import Any

import av

from vdeblur.errors import InputError, TargetExistsError, VdeblurError
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.matroska import write_aspect

# Sees the closed file under its hidden name, and says under which name it shall stand.
Approve = Callable[[Path], Path]

_NAME_LIMIT = 200  # bytes of the old name that fit beside our own parts into 255


def check_target(target: Path, source: str, *, overwrite: bool = False, new_folder: bool = False) -> None:
    """Refuse, before anything is done, a target that must not or cannot be written.

    Raises TargetExistsError for one that is there already, InputError otherwise. With `new_folder` the
    run will make the folder; then the nearest one that exists must take it.
    """
    if target.is_dir():
        raise InputError(f"{target}: is a folder; name the file that shall be written")
    if os.path.lexists(target):
        with suppress(OSError):
            own = os.fstat(0) if source == "-" else os.stat(source)
            if os.path.samestat(own, target.stat()):
                raise InputError(
                    f"{target}: source and target are the same file; give the result another name"
                )
        if not overwrite:
            raise TargetExistsError(target)
    check_folder(target, target.parent, new_folder=new_folder)


def check_folder(target: Path, folder: Path, *, new_folder: bool) -> None:
    """Refuse, for this target, a folder that is not there or takes no files (InputError)."""
    while new_folder and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{target}: the folder {folder} does not exist; make it first or choose another")
    trial = hidden_beside(folder / (target.name or "pictures"))
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written there ({error.strerror}); choose another folder"
        ) from error


def hidden_beside(target: Path) -> Path:
    """A new hidden name in the target's folder with the target's suffix."""
    return target.with_name(f".{_short(target.stem)}.{secrets.token_hex(4)}{target.suffix}")


def suspect_beside(target: Path) -> Path:
    """The name beside the target for a file that is whole, but not what it should be."""
    return target.with_name(f"{_short(target.stem)}.suspect{target.suffix}")


def _short(stem: str) -> str:
    return os.fsdecode(os.fsencode(stem)[:_NAME_LIMIT])


@contextmanager
def speaking(target: Path) -> Iterator[None]:
    """Errors of the disk and of a muxer as one sentence about the target."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise VdeblurError(f"{target}: disk full; free some space or write elsewhere") from error
        text = getattr(error, "strerror", None) or str(error)
        raise VdeblurError(f"{target}: cannot be written ({text})") from error


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder (where the system can do that), stand on the disk."""
    if path.is_dir():
        with suppress(OSError):
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class Sink:
    """One output container and its fate. Used by the writing thread only.

    The unfinished file is in `folder`, or beside the target; both must be on one file system.
    """

    def __init__(
        self,
        target: Path,
        choice: OutputChoice,
        *,
        overwrite: bool = False,
        approve: Approve | None = None,
        folder: Path | None = None,
    ) -> None:
        self.target, self.choice = target, choice
        self._approve = approve
        self._overwrite = overwrite
        self.aspect: tuple[int, Fraction] | None = None  # of which stream, where the muxer cannot be told
        self._unfinished = hidden_beside((folder or target.parent) / f"{target.stem}{choice.suffix}")
        self._open = True
        with self.speaking():
            self.container: Any = av.open(
                f"file:{self._unfinished}",  # a name may hold a colon
                "w",
                format=choice.container,
                container_options=dict(choice.container_options),
                metadata_errors="surrogateescape",
            )

    def scale_times(self, time_base: Fraction) -> None:
        """Let an MP4 or MOV count in the frames' own time base, so that every time is exact."""
        options = self.container.container_options
        if self.choice.container not in ("mp4", "mov"):
            return
        options["video_track_timescale"] = str(time_base.denominator)
        if int(options.get("movie_timescale", "1")) % time_base.denominator:
            options["movie_timescale"] = str(time_base.denominator)

    def start(self) -> None:
        """Write the header: every stream and tag must be there by now."""
        with self.speaking():
            self.container.start_encoding()

    def mux(self, packet: Any) -> None:
        with self.speaking():
            self.container.mux(packet)

    def finish(self) -> Path:
        """Close the file, let it be looked at, and give it its name."""
        with self.speaking():
            try:
                self.container.close()
            finally:
                self._open = False
            if not self._unfinished.exists():
                raise VdeblurError(f"{self.target}: nothing was written, no frame came out of the encoder")
            if self.aspect is not None:
                index, aspect = self.aspect
                write_aspect(self._unfinished, index + 1, aspect)
            to_disk(self._unfinished)
        name = self.target if self._approve is None else self._approve(self._unfinished)
        with self.speaking():
            if name == self.target and self.target.exists() and not self._overwrite:
                raise VdeblurError(f"{self.target}: somebody else made this file during the run; kept theirs")
            os.replace(self._unfinished, name)
            to_disk(name.parent)
        return name

    def abandon(self) -> None:
        """Close and remove the unfinished file; never raises."""
        self._close_anyhow()
        with suppress(OSError):
            self._unfinished.unlink()

    def leave(self) -> Path | None:
        """Close the unfinished file and call it `NAME.unfinished.ext`; never raises, None where it fails."""
        self._close_anyhow()
        stem, suffix = _short(self.target.stem), self.target.suffix
        parts = chain(["unfinished"], (f"unfinished-{number}" for number in count(2)))
        names = (self.target.with_name(f"{stem}.{part}{suffix}") for part in parts)
        with suppress(OSError):
            return self._unfinished.rename(next(name for name in names if not name.exists()))
        return None

    def _close_anyhow(self) -> None:
        if self._open:
            self._open = False
            with suppress(Exception):
                self.container.close()

    def speaking(self) -> AbstractContextManager[None]:
        """Errors of the disk and of the muxer as one sentence."""
        return speaking(self.target)
