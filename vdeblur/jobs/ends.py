"""The two ends of a run over a video: its frames are read, and written in segments that are kept, or at once.

Threads: `frames` belongs to the reading one, `write` to the writing one, all else to the job; finished
segments come from a thread of `SegmentWriter`, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vdeblur.frame import Frame
from vdeblur.jobs import memory
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.journal import Journal
from vdeblur.jobs.plan import Plan
from vdeblur.jobs.records import Entry
from vdeblur.video.carry import Carry
from vdeblur.video.joining import Passing, join
from vdeblur.video.reader import Reader, digest
from vdeblur.video.segments import Borders, Rule, Segment, SegmentWriter
from vdeblur.video.sink import Sink
from vdeblur.video.writer import Writer

_CHECKED = 3  # place of the frame that is remembered: filters may give the first ones after a seek otherwise


class Keeping:
    """Goes on where an earlier run was stopped: iterate `frames`, `write` each, `finish`; or `abandon`."""

    def __init__(
        self, plan: Plan, journal: Journal, inspection: Inspection, rule: Rule, stack: ExitStack
    ) -> None:
        assert plan.output is not None
        assert plan.carried is not None
        self._plan, self._journal, self._inspection, self._rule = plan, journal, inspection, rule
        self._stack, self._choice, self._carried = stack, plan.output, plan.carried
        self._segments = journal.segments
        self._checks: dict[int, tuple[int, str]] = {}  # number of a segment -> its remembered picture
        self._reader: Reader | None = None
        self._passing: Passing | None = None
        if not journal.complete:
            self._reader = stack.enter_context(_reader(plan, done=journal.done()))
            inspection.warnings = self._reader.warnings
        else:
            inspection.warnings = list(journal.entries[-1].warnings)
        self._writer = SegmentWriter(
            plan.target,
            plan.clip,
            self._choice,
            folder=journal.folder,
            rule=rule,
            number=len(self._segments) + 1,
            sparing=plan.options.memory is not None,
            done=self._done,
        )

    def frames(self) -> Iterator[Frame]:
        """What is not done yet."""
        borders, number = Borders(self._rule), len(self._segments)
        for frame in self._reader or ():
            number += borders.begins(frame)
            if borders.position <= _CHECKED:
                self._checks[number] = (borders.position, digest(frame))
            yield frame

    def said(self) -> list[str]:
        """Everything worth a note so far."""
        found = list(self._inspection.warnings)
        return found if self._passing is None else [*found, *self._passing.carry.warnings]

    def write(self, frame: Frame) -> None:
        """Encode one frame; the planes are read during the call only."""
        self._writer.write(frame)

    def finish(self) -> Path:
        """The target from all segments; what was interrupted ends with its last frame."""
        if self._reader is not None:
            self._writer.finish()
        options, whole = self._plan.options, not self._inspection.interrupted
        self._passing = Passing(
            self._plan.clip,
            self._carried,
            start=options.start,
            end=options.end,
            moved=self._reader.moved if self._reader is not None else self._journal.entries[-1].moved,
            room=memory.for_waiting(self._plan),
        )
        self._stack.callback(self._passing.close)
        self._inspection.lost = self._passing.carry.lost
        return join(
            self._plan.target,
            self._plan.clip,
            self._choice,
            self._passing,
            self._segments,
            folder=self._journal.folder,
            whole=whole,
            overwrite=options.overwrite,
            approve=self._inspection.approve,
        )

    def abandon(self) -> None:
        """Leave the finished segments and nothing else behind; never raises."""
        self._writer.abandon()

    def _done(self, segment: Segment, last: bool) -> None:
        self._segments.append(segment)
        check = self._checks.pop(len(self._segments))
        if last and self._inspection.interrupted:
            return  # shorter than the rule says: good for the file that is kept, but nothing to go on from
        assert self._reader is not None
        self._journal.add(
            Entry(
                segment=segment,
                enters=self._reader.follows_the_file,
                check=check,
                moved=self._reader.moved,
                warnings=tuple(self._reader.warnings),
                last=last,
                looks=self._inspection.looks(self._journal.frames, len(segment.times)),
            )
        )


class Once:
    """Of a source that cannot be read again: its other streams pass by while it is encoded.

    folder   for what is unfinished
    """

    def __init__(self, plan: Plan, inspection: Inspection, stack: ExitStack, *, folder: Path) -> None:
        assert plan.carried is not None
        self._plan, self._inspection, self._folder = plan, inspection, folder
        self._reader = stack.enter_context(_reader(plan, gathers=plan.options.verify != "off"))
        self._carry = Carry(plan.carried, self._reader, memory.for_waiting(plan))
        self._reader.on_packet = self._carry.offer
        inspection.gathered = self._reader.gathered
        inspection.lost, inspection.warnings = self._carry.lost, self._reader.warnings
        self._writer: Writer | None = None

    def frames(self) -> Iterator[Frame]:
        """All of them."""
        return iter(self._reader)

    def said(self) -> list[str]:
        """Everything worth a note so far."""
        return [*self._reader.warnings, *self._carry.warnings]

    def write(self, frame: Frame) -> None:
        """Encode one frame; the planes are read during the call only."""
        if self._writer is None:
            self._writer = self._open()
        self._writer.write(frame)

    def finish(self) -> Path:
        """The target, with what the other streams still hold."""
        assert self._writer is not None
        return self._writer.finish()

    def abandon(self) -> None:
        """Leave nothing behind; never raises."""
        if self._writer is not None:
            self._writer.abandon()

    def _open(self) -> Writer:
        plan = self._plan
        assert plan.output is not None
        sink = Sink(
            plan.target,
            plan.output,
            overwrite=plan.options.overwrite,
            approve=self._inspection.approve,
            folder=self._folder,
        )
        return Writer(sink, plan.clip, self._carry)


def _reader(plan: Plan, **more: Any) -> Reader:
    assert plan.carried is not None
    options = plan.options
    return Reader(
        plan.clip,
        start=options.start,
        end=options.end,
        deinterlace=options.deinterlace,
        wanted=plan.carried.wanted,
        keep_partial=options.keep_partial,
        **more,
    )
