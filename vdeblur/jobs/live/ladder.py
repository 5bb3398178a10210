"""Which network at which resolution: down when the goal is missed, up when there is room, never to and fro.

Pure arithmetic on measured times: the loop tells every picture, and is told the rung to use.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

SCALES = (Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 3))

LOOK_S, LOOK_PICTURES = 0.6, 5
"""So much is looked at before a step down: one slow picture is no reason."""
ROOM = 0.8
"""A step up must be expected to need no more than this share of what the goal allows."""
CALM_S, LONGEST_CALM_S = 3.0, 60.0
"""It must have been expected so long; doubled whenever a step up had to be taken back."""
TAKEN_BACK_S = 10.0
"""A step down within this time of a step up takes it back."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A network and the scale of the picture that it sees."""

    model: str
    scale: Fraction

    def __str__(self) -> str:
        return f"{self.model} at {'full size' if self.scale == 1 else self.scale}"


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold: pictures a second, and the age of 95 of 100 when shown; None: no matter."""

    fps: float | None = None
    latency_s: float | None = None

    def __str__(self) -> str:
        parts = [] if self.fps is None else [f"{self.fps:g} fps"]
        return " and ".join(parts if self.latency_s is None else [*parts, f"{self.latency_s * 1000:g} ms"])

    def need(self, work_s: float, age_s: float, source_fps: float | None) -> float:
        """What these times are of what is allowed; the goal is kept up to 1.

        No more pictures can be shown than come: a slower source lowers the goal.
        """
        shares = [0.0]
        if self.fps is not None:
            shares.append(work_s * min(self.fps, source_fps or self.fps))
        if self.latency_s is not None:
            shares.append(age_s / self.latency_s)
        return max(shares)


class Ladder:
    """`note` every picture; answers with the rung for the next one (its number, 0 is the best)."""

    def __init__(self, costs: Sequence[float], goal: Goal, start: int = 0) -> None:
        """`costs`: what a picture costs on each rung, in any unit, as far as is known before."""
        self.rung = start
        self._goal = goal
        self._costs = tuple(costs)
        self._closed: set[int] = set()
        self._known: dict[int, float] = {}  # seconds of work on rungs that have been used
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=256)  # (when, work, age)
        self._skip = 1  # the first picture on a rung pays for its beginning
        self._room_since: float | None = None
        self._calm_s = CALM_S
        self._stepped_up_at: float | None = None

    def note(self, now_s: float, work_s: float, age_s: float, source_fps: float | None) -> int:
        """A picture was shown: seconds of work it took, its age then. Answers with the rung to use now."""
        if self._skip:
            self._skip -= 1
            return self.rung
        self._recent.append((now_s, work_s, age_s))
        while now_s - self._recent[0][0] > LOOK_S and len(self._recent) > LOOK_PICTURES:
            self._recent.popleft()
        if len(self._recent) < LOOK_PICTURES:
            return self.rung
        # A rate is a mean, of ages 95 of 100 count; but for a single picture nobody steps down.
        work = statistics.mean(sorted(w for _, w, _ in self._recent)[:-1])
        age = _high(sorted(a for _, _, a in self._recent)[:-1])
        self._known[self.rung] = work
        need = self._goal.need(work, age, source_fps)
        if need > 1.0:
            self._room_since = None
            if below := self._open(range(self.rung + 1, len(self._costs))):
                if self._stepped_up_at is not None and now_s - self._stepped_up_at < TAKEN_BACK_S:
                    self._calm_s = min(2 * self._calm_s, LONGEST_CALM_S)
                self._stepped_up_at = None
                self._step(self._fitting(below, work, age, source_fps))
            return self.rung
        above = self._open(range(self.rung))[-1:]
        if above and self._goal.need(*self._expected(above[0], work, age), source_fps) <= ROOM:
            self._room_since = now_s if self._room_since is None else self._room_since
            if now_s - self._room_since >= self._calm_s:
                self._stepped_up_at = now_s
                self._step(above[0])
        else:
            self._room_since = None
        if self._stepped_up_at is not None and now_s - self._stepped_up_at >= TAKEN_BACK_S:
            self._stepped_up_at, self._calm_s = None, CALM_S  # it held
        return self.rung

    def close(self, rung: int, stay: int) -> None:
        """A rung cannot be used: go on from another, and never step there again."""
        self._closed.add(rung)
        self._stepped_up_at = None
        self._step(stay)

    def forget(self, rung: int) -> None:
        """The source has changed: what was measured does not count any more."""
        self._known.clear()
        self._closed.clear()
        self._step(rung)

    def _open(self, rungs: range) -> list[int]:
        return [rung for rung in rungs if rung not in self._closed]

    def _fitting(self, below: Sequence[int], work: float, age: float, source_fps: float | None) -> int:
        """The next rung down that is expected to keep the goal; the last one where none is."""
        for rung in below:
            expected = work * self._costs[rung] / self._costs[self.rung]
            if self._goal.need(expected, age - work + expected, source_fps) <= 1.0:
                return rung
        return below[-1]

    def _expected(self, rung: int, work: float, age: float) -> tuple[float, float]:
        """Work and age expected on a rung further up: from the costs, or more where it has been seen."""
        expected = work * self._costs[rung] / self._costs[self.rung]
        seen = self._known.get(rung)
        if seen is not None and self._calm_s > CALM_S:
            expected = max(expected, min(seen, 2 * expected))
        return expected, age - work + expected

    def _step(self, rung: int) -> None:
        self.rung = rung
        self._recent.clear()
        self._skip, self._room_since = 1, None


def _high(ordered: Sequence[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
