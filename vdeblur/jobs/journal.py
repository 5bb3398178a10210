"""The journal of one run: a folder beside its target, from which a run that was killed is continued.

    .out.mp4.vdeblur/
        lock             held by the run that works here, also where nothing can be continued
        manifest.json    for whom it is: source, options, weights, versions; and the list of finished segments
        000001.mp4       a finished segment, playable
        000001.json      its record: digest of the file, times and fates of its frames
        pictures/        finished ones, where the source is pictures; segments are lists of them then
        .*.mp4           what is being written; worthless after a kill

Every file is written under another name, brought to the disk, and renamed; a segment counts once the
manifest names it.  A folder without segments is removed with the run, and so is one whose target is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import av

from vdeblur.errors import InputError
from vdeblur.frame import Fate
from vdeblur.jobs.records import FORMAT, MANIFEST, Entry, digest_of_bytes, entry_of, read_manifest, record_of
from vdeblur.lock import Lock
from vdeblur.video.reader import Done
from vdeblur.video.segments import Segment, digest_of
from vdeblur.video.sink import speaking, to_disk
from vdeblur.video.trust import options_for_file

PARTS = "pictures"  # the folder of finished ones
_NAME_LIMIT = 180  # bytes of the target's name that fit into ours
_OURS = re.compile(r"\.?\d{6}(\.[0-9a-f]{8})?\.\w+|manifest\.json|lock|\..*\.(tmp|[0-9a-f]{8}\.\w+)")


def folder_of(target: Path) -> Path:
    """The journal's folder: hidden, beside the target, with its name."""
    name = target.name
    if len(os.fsencode(name)) > _NAME_LIMIT:
        mark = blake2b(os.fsencode(name), digest_size=4).hexdigest()
        name = os.fsdecode(os.fsencode(name)[: _NAME_LIMIT - 9]) + "~" + mark
    return target.with_name(f".{name}.vdeblur")


def entire(listed: Path) -> bool:
    """Of segments that are nothing but their file: whether it opens as a video, by itself (`video.trust`)."""
    try:
        with av.open(f"file:{listed}", options=options_for_file()) as container:
            return bool(container.streams.video)
    except av.FFmpegError:
        return False


class Journal:
    """A context: the folder is locked inside; to be loaded first; used by one thread at a time.

    entries  what is finished, in order
    """

    def __init__(
        self,
        folder: Path,
        target: Path,
        asked: dict[str, Any],
        made_with: dict[str, str] | None,
        *,
        restart: bool = False,
        keep: bool = False,
        whole: Callable[[Path], bool] = entire,
    ) -> None:
        """`asked` is what `resume` needs to ask for the same; `made_with` names all that shapes the result
        (None: this run cannot be continued); `whole` looks at a segment that is itself what was written."""
        self.folder = folder
        self._target, self._asked, self._made_with, self._keep = target, asked, made_with, keep
        self._restart, self._whole = restart, whole
        self.entries: list[Entry] = []
        self._records: list[dict[str, str]] = []
        self._loaded = False  # before it is known what is of use, nothing is removed

    def __enter__(self) -> Self:
        """Take the lock; InputError where another run has it."""
        try:
            self._lock = Lock(self.folder, self._target)
        except BaseException:
            with suppress(OSError):
                self.folder.rmdir()  # if it is empty: we had just made it
            raise
        return self

    def load(self) -> None:
        """Take what an earlier run has left, and remove what is of no use; InputError where it does not fit.

        Reads all of it, which may take long, and may be broken off: whatever is there is still there then.
        """
        if self._made_with is not None and not self._restart:
            self.entries, self._records = self._earlier(self._made_with)
        self._loaded = True
        self._clear(keeping=self._files())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Remove what is of no more use, and let go."""
        try:
            if self._loaded:
                is_over = not self.entries or (error is None and not self._keep)
                self._clear(keeping=set() if is_over else self._files())
            if not (self.folder / MANIFEST).exists():
                with suppress(OSError):
                    (self.folder / "lock").unlink()
                    self.folder.rmdir()
        finally:
            self._lock.release()

    @property
    def keeps(self) -> bool:
        """Whether this run can be continued."""
        return self._made_with is not None

    @property
    def segments(self) -> list[Segment]:
        return [entry.segment for entry in self.entries]

    @property
    def complete(self) -> bool:
        """Whether all frames of the source are in it."""
        return bool(self.entries) and self.entries[-1].last

    @property
    def frames(self) -> int:
        return sum(len(entry.segment.times) for entry in self.entries)

    def rows(self) -> Iterator[tuple[int, Fate]]:
        """Time and fate of each frame."""
        for segment in self.segments:
            yield from zip(segment.times, map(Fate, segment.fates), strict=True)

    def done(self) -> Done | None:
        """Where reading goes on; None at the start."""
        if not self.entries:
            return None
        last = self.entries[-1]
        times = array("q")
        for entry in self.entries:
            times += entry.segment.times
        first = len(times) - len(last.segment.times)
        return Done(
            times=times,
            moved=last.moved,
            enter=first if last.enters else None,
            check=(first + last.check[0], last.check[1]),
            warnings=last.warnings,
        )

    def add(self, entry: Entry) -> None:
        """A segment is finished: from now on it is not lost."""
        record = record_of(entry)
        name = Path(entry.segment.file).with_suffix(".json").name
        self._write(name, record)
        records = [*self._records, {"record": name, "digest": digest_of_bytes(record)}]
        head = {"format": FORMAT, **self._asked, "made_with": self._made_with, "segments": records}
        self._write(MANIFEST, json.dumps(head, indent=1).encode())
        self._records = records
        self.entries.append(entry)

    def way_on(self, tick: Fraction | None) -> str:
        """For messages: what is kept, and how to go on; `tick` is None for pictures, which have no times."""
        first, last = self.entries[0].segment.times[0], self.entries[-1].segment.times[-1]
        length = "" if tick is None else f" ({_clock(float((last - first) * tick))})"
        but = " without --restart" if self._restart else ""
        if self._target.is_file() and not self._asked["options"]["overwrite"]:
            but += " with --overwrite"
        return (
            f"{self.frames} frames{length} are done and kept in {self.folder.name}: "
            f"the same command{but} goes on from there"
        )

    def _earlier(self, made_with: dict[str, str]) -> tuple[list[Entry], list[dict[str, str]]]:
        """What an earlier run has finished, and its records."""
        entries: list[Entry] = []
        if not (self.folder / MANIFEST).exists():
            return entries, []
        head = read_manifest(self.folder)
        if changes := _changes(head["made_with"], made_with):
            raise InputError(
                f"{self._target}: an unfinished run of it is there ({self.folder.name}), but {changes}; "
                "go on with what it was begun with, or begin anew with --restart"
            )
        for listed in head["segments"]:
            entry = self._entry(listed)
            if entry is None:
                break  # from the first that is damaged on, all is done again
            entries.append(entry)
        return entries, head["segments"][: len(entries)]

    def _entry(self, listed: dict[str, str]) -> Entry | None:
        """None where the record or its file is not what was written; InputError where nobody can tell."""
        try:
            name = listed["record"]
            if not re.fullmatch(r"\d{6}\.json", name):
                return None
            data = (self.folder / name).read_bytes()
            if digest_of_bytes(data) != listed["digest"]:
                return None
            entry = entry_of(data)
            file = self.folder / entry.segment.file
            same = digest_of(file) == (entry.segment.bytes, entry.segment.digest)
            return entry if same and self._whole(file) else None
        except (FileNotFoundError, ValueError, TypeError, KeyError, OverflowError):
            return None
        except OSError as error:  # of a network, or the system: it may be sound all the same
            raise InputError(
                f"{self.folder}: what is done cannot be read ({error.strerror}); try again, or begin anew "
                "with --restart"
            ) from error

    def _files(self) -> set[str]:
        """Names of what must stay."""
        named = {e.segment.file for e in self.entries} | {listed["record"] for listed in self._records}
        return named | ({MANIFEST} if named else set())

    def _write(self, name: str, data: bytes) -> None:
        unfinished = self.folder / f".{name}.tmp"
        with speaking(self._target):
            unfinished.write_bytes(data)
            to_disk(unfinished)
            os.replace(unfinished, self.folder / name)
            to_disk(self.folder)

    def _clear(self, keeping: set[str]) -> None:
        """Remove files of ours, but these and the lock; never raises, never touches what is not ours."""
        if not keeping:
            shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        with suppress(OSError):
            for path in list(self.folder.iterdir()):
                if path.name in keeping or path.name == "lock" or not _OURS.fullmatch(path.name):
                    continue
                with suppress(OSError):
                    path.unlink()


def _changes(before: dict[str, str], now: dict[str, str]) -> str:
    """The first thing that differs, in words (others may follow from it); empty where nothing does."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key, "not there"), now.get(key, "not there")
        if old != new:
            return f"{key} changed" if key.startswith("the ") else f"{key} was {old} and is {new}"
    return ""


def _clock(seconds: float) -> str:
    """`1:02:03`, from zero."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
