"""The last look at a finished file, between closing it and giving it its name.

What the run announced (streams dropped, converted, given up) is no damage; where the source cannot be read
again or only a part of it was wanted, the receipt says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.frame import Frame
from vdeblur.jobs.plan import Plan
from vdeblur.ledger import Ledger
from vdeblur.video.alignment import Times
from vdeblur.video.carry import Action
from vdeblur.video.contents import Choose, Contents, video_in_place_of
from vdeblur.video.looks import BYTES, CODED, Looks, compared, look, looks_of
from vdeblur.video.receipt import Announced, Fault, Receipt
from vdeblur.video.sink import suspect_beside
from vdeblur.video.source import is_url
from vdeblur.video.verify import verify

_LIKE = "look as they were made"
_BREAKS_OFF = "the source breaks off"  # how the reader's warnings about it begin
_DAMAGED = ("pictures of the source that do not decode", "frames of the source that the decoder marks")


class Inspection:
    """Of one run: `approve` is called once, by whoever finishes the file; then `receipt` is there.

    lost         streams that were given up during the run, by index; filled while it goes on
    warnings     of the reader; the last ones come with the source's end
    interrupted  whether the run was stopped before the source's end
    gathered     gives what was seen of a source that cannot be read again
    """

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan, self._ledger = plan, ledger
        self.lost: dict[int, str] = {}
        self.warnings: list[str] = []
        self.interrupted = False
        self._unseen = 0  # frames at the front that nobody has looked at
        self.gathered: Callable[[], Contents | None] = lambda: None
        self.receipt: Receipt | None = None
        if plan.options.verify != "off" and plan.carried is None:
            self.receipt = Receipt(skipped="pictures hold nothing else")

    def saw(self, frame: Frame) -> None:
        """A frame on its way to the encoder; writing thread."""
        if self._plan.options.verify == "full" and self._plan.carried is not None:
            self._ledger.looks += look(frame.planes, frame.layout)

    def resume(self, looks: bytes) -> None:
        """Go on after frames that earlier runs handed to the encoder; nothing unless all were looked at."""
        if len(looks) == self._ledger.restored * BYTES and self._plan.options.verify == "full":
            self._ledger.looks += looks
        else:
            self._unseen = self._ledger.restored

    def looks(self, first: int, count: int) -> bytes:
        """Of so many frames from this number on; nothing where they were not looked at."""
        return bytes(self._ledger.looks[(first - self._unseen) * BYTES :][: count * BYTES])

    def approve(self, hidden: Path) -> Path:
        """The name for the finished file: the target, or one beside it that says that it is damaged."""
        plan = self._plan
        if plan.options.verify == "off":
            return plan.target
        with self._ledger.spend("verify"):
            self.receipt = self._compared(hidden)
            if plan.options.verify == "full":
                self.receipt = self._looked(hidden, self.receipt)
        if not self.receipt.faults:
            return plan.target
        return suspect_beside(plan.target)

    def _compared(self, hidden: Path) -> Receipt:
        """With the source."""
        if why := self._why_not():
            return Receipt(skipped=why)
        try:
            seen = self.gathered()
            source = self._plan.clip.source if seen is None else seen
            return verify(source, str(hidden), self._announced(once=seen is not None))
        except InputError as error:
            return Receipt(skipped=f"the source cannot be read again ({error})")
        except Exception as error:  # days of work are not thrown away for a mistake in here
            return Receipt(skipped=f"the comparison failed ({type(error).__name__}: {error})")

    def _looked(self, hidden: Path, receipt: Receipt) -> Receipt:
        """With what the encoder was given, picture by picture; needs no source."""
        data = self._ledger.looks
        tick = Fraction(self._plan.clip.picture.time_base)
        times = self._ledger.times[self._ledger.frames - len(data) // BYTES :]
        made = Looks(Times.of(times, tick), data)
        try:
            found = looks_of(str(hidden), self._place())
        except InputError:
            fault = Fault("file", None, "what was written cannot be read back")
            return dataclasses.replace(receipt, faults=(*receipt.faults, fault), alike=0, like=_LIKE)
        missing = self._ledger.frames - len(found)
        alike, faulty = compared(made, found, CODED)
        if missing > 0:
            faulty.append(Fault("pictures", None, f"{missing} of {self._ledger.frames} are missing"))
        return dataclasses.replace(receipt, faults=(*receipt.faults, *faulty), alike=alike, like=_LIKE)

    def _place(self) -> Choose:
        """Of the result's videos the one that was made."""
        plan, left = self._plan, self._announced().dropped
        videos = (s.index for s in plan.clip.streams if s.kind == "video" and not s.is_cover)
        return video_in_place_of(plan.clip.picture.index, (index for index in videos if index not in left))

    def words(self, kept: Path) -> str:
        """One line for a damaged file that is kept under this name."""
        assert self.receipt is not None
        first, *more = self.receipt.faults
        others = f" (and {len(more)} more; `vdeblur verify` lists them)" if more else ""
        return f"{self._plan.target}: differs from its source: {first.line()}{others}; kept as {kept.name}"

    def _why_not(self) -> str | None:
        plan, options = self._plan, self._plan.options
        if (plan.clip.source == "-" or is_url(plan.clip.source)) and self.gathered() is None:
            return "the source cannot be read again"
        if options.start is not None or options.end is not None:
            return "only a part of the source was asked for"
        if self.interrupted:
            return "the run was stopped before the end"
        if plan.clip.broken is not None or self._warned(_BREAKS_OFF):
            return "the source breaks off"
        return None

    def _warned(self, *beginnings: str) -> bool:
        return any(text.startswith(beginnings) for text in self.warnings)

    def _announced(self, *, once: bool = False) -> Announced:
        plan, options = self._plan, self._plan.options
        assert plan.carried is not None
        left = (Action.DROP, Action.ANEW)
        dropped = {
            c.stream.index: f"{c.action}: {c.reason}" for c in plan.carried.streams if c.action in left
        }
        return Announced(
            index=plan.clip.picture.index,
            dropped=dropped | self.lost,
            frames=self._frames() if once or self._warned(*_DAMAGED) else None,
            once=once,
            resized=options.compare is not None,
            progressive=options.deinterlace,
            lasts=options.encoder != "ffmpeg",
        )

    def _frames(self) -> Times:
        """As the reader gave them: which pictures a damaged source has depends on the decoder's threads."""
        tick = self._plan.clip.picture.time_base
        return Times.of(self._ledger.times, Fraction(tick))
