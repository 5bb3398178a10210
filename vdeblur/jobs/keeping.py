"""The two ends of a run whose work is kept: read on where an earlier one was stopped, write segments, join.

Threads: `frames` belongs to the reading one, `write` to the writing one, all else to the job; finished
segments come from a thread of `SegmentWriter`, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from vdeblur.frame import Frame
from vdeblur.jobs import memory
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.journal import Entry, Journal
from vdeblur.jobs.plan import Plan
from vdeblur.video.ffmpeg import FfmpegWriter
from vdeblur.video.joining import Passing, join
from vdeblur.video.reader import Reader, digest
from vdeblur.video.segments import Borders, Rule, Segment, SegmentWriter
from vdeblur.video.writer import Writer

_CHECKED = 3  # place of the frame that is remembered: filters may give the first ones after a seek otherwise


class Keeping:
    """Of one run: iterate `frames`, `write` each, then `finish`; or `abandon`."""

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
        options = plan.options
        if not journal.complete:
            self._reader = stack.enter_context(
                Reader(
                    plan.clip,
                    start=options.start,
                    end=options.end,
                    deinterlace=options.deinterlace,
                    wanted=self._carried.wanted,
                    keep_partial=options.keep_partial,
                    done=journal.done(),
                )
            )
            inspection.warnings = self._reader.warnings
        else:
            inspection.warnings = list(journal.entries[-1].warnings)
        self._writer = SegmentWriter(
            plan.target,
            plan.clip,
            self._choice,
            FfmpegWriter if options.encoder == "ffmpeg" else Writer,
            folder=journal.folder,
            rule=rule,
            number=len(self._segments) + 1,
            sparing=options.memory is not None,
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
