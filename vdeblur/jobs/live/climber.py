"""The rung that is used now: the one that the ladder wishes for, as soon as it is open.

What cannot be opened is left out with a word, and the next rung is taken.
"""

from __future__ import annotations

from collections.abc import Callable

from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Frame
from vdeblur.jobs.live.ladder import Goal, Ladder
from vdeblur.jobs.live.rungs import Rungs


class Climber:
    """`begin` with the first picture, then `correct` and `climb` with every one; for the loop's thread."""

    def __init__(
        self, rungs: Rungs, goal: Goal, say: Callable[[str], None], tell: Callable[[str], None]
    ) -> None:
        """`say` gets every change of the rung, `tell` what was decided that nobody asked for."""
        self.device = ""  # in words
        self._rungs, self._goal, self._say, self._tell = rungs, goal, say, tell
        self._rung = 0
        self._ladder: Ladder | None = None
        self._notes: set[str] = set()

    @property
    def begun(self) -> bool:
        return self._ladder is not None

    @property
    def step(self) -> str:
        """The rung in words."""
        return str(self._rungs.rungs[self._rung])

    def begin(self, first: Frame, source_fps: float | None) -> None:
        """Open the rung that is expected to do; takes seconds."""
        names = " and ".join(dict.fromkeys(rung.model for rung in self._rungs.rungs))
        self._tell(f"{first.layout.width}x{first.layout.height}; opening {names}")
        costs = self._rungs.costs(first.layout) if len(self._rungs.rungs) > 1 else [1.0]
        wait_s = 1 / source_fps if source_fps else 0.04
        fits = (n for n, cost in enumerate(costs) if self._goal.need(cost, cost + wait_s, source_fps) <= 1.0)
        self._rung = self._open_from(next(fits, len(costs) - 1), first)
        self._ladder = Ladder(costs, self._goal, self._rung)
        described = self._rungs.describe(self._rung)
        self.device = f"{described['device_name']}, {described['precision']}, {described['backend']}"
        self._say(f"{self.step} on {self.device}")

    def resized(self, first: Frame) -> None:
        """The source gives other pictures from now on: networks are opened anew for them."""
        assert self._ladder is not None
        self._say(f"the picture is now {first.layout.width}x{first.layout.height}")
        self._rung = self._open_from(self._rung, first)
        self._ladder.forget(self._rung)

    def correct(self, frame: Frame) -> Frame:
        """The frame sharpened."""
        return self._rungs.correct(self._rung, frame)

    def climb(
        self, frame: Frame, now_s: float, work_s: float, age_s: float, source_fps: float | None
    ) -> None:
        """Ask the ladder after a picture was shown, and change the rung once the new one is open."""
        assert self._ladder is not None
        for note in self._rungs.notes:
            if note not in self._notes:
                self._notes.add(note)
                self._tell(f"note: {note}")
        if len(self._rungs.rungs) == 1:
            return
        if self._ladder.rung == self._rung:
            self._ladder.note(now_s, work_s, age_s, source_fps)
        wanted = self._ladder.rung
        if wanted == self._rung:
            return
        try:
            ready = self._rungs.ready(wanted, frame)
        except VdeblurError as error:
            self._ladder.close(wanted, self._rung)
            self._leave_out(wanted, error)
            return
        if ready:
            why = "up, there is room" if wanted < self._rung else f"down, to hold {self._goal}"
            self._rung = wanted
            self._say(f"{self.step}: {why}")

    def _open_from(self, start: int, first: Frame) -> int:
        """Open this rung, or the next one that can be opened: those below come before those above."""
        number, *others = [*range(start, len(self._rungs.rungs)), *reversed(range(start))]
        while True:
            try:
                self._rungs.open(number, first)
                return number
            except VdeblurError as error:
                if isinstance(error, InputError) or not others:
                    raise
                self._leave_out(number, error)
            number = others.pop(0)

    def _leave_out(self, number: int, error: VdeblurError) -> None:
        self._say(f"{self._rungs.rungs[number]} is left out: {error}")
