"""The two ends of a run over pictures whose work is kept: finished pictures wait in the journal's folder.

The journal's segments are lists of them here: for each picture its digest and its name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.frame import Frame
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.journal import PARTS, Journal
from vdeblur.jobs.plan import Plan
from vdeblur.jobs.records import Entry
from vdeblur.video.pictures import PictureWriter, read_pictures
from vdeblur.video.segments import Borders, Rule, Segment, digest_of
from vdeblur.video.sink import speaking, to_disk

FEW = Rule(Fraction(0), 20)  # pictures can take long, each


class KeepingPictures:
    """Of one run: iterate `frames`, `write` each, then `finish`; or `abandon`."""

    def __init__(self, plan: Plan, journal: Journal, inspection: Inspection) -> None:
        self._plan, self._journal, self._inspection = plan, journal, inspection
        self._borders = Borders(FEW)
        self._writer = PictureWriter(
            plan.target, plan.clip, overwrite=plan.options.overwrite, parts=journal.folder / PARTS
        )
        done = [number for number, _ in journal.rows()]  # their times count them
        self._writer.take_over(done)
        self._first = done[-1] + 1 if done else 0
        self._left_out = list(journal.entries[-1].warnings) if done else []
        self._open: list[tuple[int, int, str, Path]] = []  # time, duration, fate, file

    def frames(self) -> Iterator[Frame]:
        """What is not done yet."""
        if self._journal.complete:
            return iter(())
        return read_pictures(self._plan.clip, self._first, self._leave_out)

    def said(self) -> list[str]:
        """Everything worth a note so far."""
        return list(self._left_out)

    def write(self, frame: Frame) -> None:
        """Encode one picture; the planes are read during the call only."""
        if self._borders.begins(frame):
            self._note(last=False)
        self._open.append((frame.pts, frame.duration, str(frame.fate), self._writer.write(frame)))

    def finish(self) -> Path:
        """All results take their names."""
        if self._inspection.interrupted:
            self._journal.entries.clear()  # its pictures leave it: there is nothing to go on from
        else:
            self._note(last=True)
        return self._writer.finish()

    def abandon(self) -> None:
        """What is noted stays; the journal clears up the rest."""

    def _note(self, *, last: bool) -> None:
        if not self._open:
            return
        with speaking(self._plan.target):
            path, size, digest = self._list()
        times, durations, fates, _ = zip(*self._open, strict=True)
        segment = Segment(
            file=path.name,
            bytes=size,
            digest=digest,
            header="",
            times=array("q", times),
            durations=array("q", durations),
            fates=fates,
            order=array("q", range(len(times))),
        )
        left_out = tuple(self._left_out)
        self._journal.add(Entry(segment, enters=False, check=(0, ""), moved=0, warnings=left_out, last=last))
        self._open = []

    def _leave_out(self, error: InputError) -> None:
        if not self._plan.options.keep_partial:
            raise InputError(f"{error}; --keep-partial does the others") from error
        self._left_out.append(f"{error}; left out")

    def _list(self) -> tuple[Path, int, str]:
        lines = []
        for *_, part in self._open:
            to_disk(part)
            lines.append(f"{digest_of(part)[1]}  {part.name}\n")
        path = self._journal.folder / f"{len(self._journal.entries) + 1:06d}.list"
        path.write_text("".join(lines), encoding="utf-8")
        to_disk(path)
        return path, *digest_of(path)


def all_there(listed: Path) -> bool:
    """Whether every picture of a list is what it was when it was noted."""
    with suppress(FileNotFoundError, ValueError):
        for line in listed.read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            if Path(name).name != name or digest_of(listed.parent / PARTS / name)[1] != digest:
                return False
        return True
    return False
