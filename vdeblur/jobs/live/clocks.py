"""When a picture was captured, as far as its own time and its coming tell; and when one of a file is due.

All times in seconds, on the clock of `time.monotonic`.
"""

from __future__ import annotations

import time
from fractions import Fraction


class ArrivalClock:
    """When a picture of a stream was captured, as far as its arrival and its own time can tell.

    The sender's clock is unknown, but pictures that wait on the way come later than their time says: the
    least difference so far counts as no waiting. It may grow by CREEP, as clocks do not run alike; times that
    go back, or come later by more than JUMP_S, are those of a new clock: pictures are decoded in their order.
    So the sender's own delay is not in the age, a jam on the way is.
    """

    CREEP = 2e-4
    JUMP_S = 30.0

    def __init__(self) -> None:
        self._least: float | None = None
        self._when_s = 0.0
        self._pts_s = 0.0

    def captured_at(self, pts_s: float | None, now_s: float) -> float:
        """On `time.monotonic`, never later than `now_s`."""
        if pts_s is None:
            return now_s
        offset = now_s - pts_s
        if self._least is not None:
            self._least += self.CREEP * (now_s - self._when_s)
        is_new = self._least is None or pts_s < self._pts_s or offset - self._least > self.JUMP_S
        self._least = offset if is_new or self._least is None else min(offset, self._least)
        self._when_s, self._pts_s = now_s, pts_s
        return pts_s + self._least


class Pace:
    """Waits until a picture is due, by the times in the file or steadily at its rate."""

    LATE_S = 0.5  # a decoder or server further behind than this is not chased: it plays on from here

    def __init__(self, rate: Fraction | None, *, steady: bool = False) -> None:
        self._step_s = float(1 / rate) if rate else 1 / 25
        self._steady = steady
        self._due_s: float | None = None  # of the latest picture
        self._last_s: float | None = None  # its time in the file

    @property
    def begun(self) -> bool:
        return self._due_s is not None

    def jump(self) -> None:
        """The times in the file begin anew."""
        self._last_s = None

    def wait_for(self, time_s: float | None) -> float:
        """Answers with when the picture was due: one that is decoded late is older."""
        now = time.monotonic()
        step = self._step_s
        if not self._steady and time_s is not None and self._last_s is not None:
            step = time_s - self._last_s if 0 < time_s - self._last_s < 10 else step
        self._last_s = time_s
        due = now if self._due_s is None else self._due_s + step
        self._due_s = due = now if now - due > self.LATE_S else due
        time.sleep(max(0.0, due - now))
        return due
