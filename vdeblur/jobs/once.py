"""The two ends of a run whose source cannot be read again: its other streams pass by while it is encoded.

Threads: `frames` belongs to the reading one, `write` to the writing one, all else to the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from vdeblur.frame import Frame
from vdeblur.jobs import memory
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.plan import Plan
from vdeblur.video.carry import Carry
from vdeblur.video.ffmpeg import FfmpegWriter
from vdeblur.video.reader import Reader
from vdeblur.video.writer import Writer


class Once:
    """Of one run: iterate `frames`, `write` each, then `finish`; or `abandon`.

    folder   for what is unfinished
    """

    def __init__(self, plan: Plan, inspection: Inspection, stack: ExitStack, *, folder: Path) -> None:
        assert plan.carried is not None
        self._plan, self._inspection, self._folder = plan, inspection, folder
        options = plan.options
        self._reader = stack.enter_context(
            Reader(
                plan.clip,
                start=options.start,
                end=options.end,
                deinterlace=options.deinterlace,
                wanted=plan.carried.wanted,
                keep_partial=options.keep_partial,
                gathers=options.verify != "off",
            )
        )
        self._carry = Carry(plan.carried, self._reader, memory.for_waiting(plan))
        self._reader.on_packet = self._carry.offer
        inspection.gathered = self._reader.gathered
        inspection.lost, inspection.warnings = self._carry.lost, self._reader.warnings
        self._writer: Writer | FfmpegWriter | None = None

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

    def _open(self) -> Writer | FfmpegWriter:
        plan = self._plan
        assert plan.output is not None
        kind = FfmpegWriter if plan.options.encoder == "ffmpeg" else Writer
        return kind(
            plan.target,
            plan.clip,
            plan.output,
            self._carry,
            overwrite=plan.options.overwrite,
            approve=self._inspection.approve,
            folder=self._folder,
        )
