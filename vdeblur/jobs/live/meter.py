"""The figures of a live run: rates and ages of the last seconds, and of all pictures without keeping them."""

from __future__ import annotations

import dataclasses
from collections import deque

import numpy as np

from vdeblur.jobs.live.view import Status

OVER_S = 3.0
_BINS = 20_000  # of a millisecond: ages up to 20 s, older ones count as that


class Meter:
    """`shown` for every picture; used by one thread."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=2048)  # (when, age)
        self._ages_ms = np.zeros(_BINS, np.int64)
        self.count = 0

    def shown(self, now_s: float, age_s: float) -> None:
        self.count += 1
        self._recent.append((now_s, age_s))
        self._ages_ms[min(max(round(age_s * 1000), 0), _BINS - 1)] += 1

    def rate(self, now_s: float) -> float:
        """Pictures shown a second over the last seconds."""
        self._forget(now_s)
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / max(self._recent[-1][0] - self._recent[0][0], 1e-6)

    def recent_age(self, now_s: float, share: float) -> float:
        """The age in seconds that this share (0 to 1) of the last seconds' pictures did not exceed."""
        self._forget(now_s)
        return float(np.quantile([age for _, age in self._recent], share)) if self._recent else 0.0

    def onto(self, status: Status, now_s: float) -> Status:
        """The status with the rate and the ages measured here, once there are some."""
        if not (rate := self.rate(now_s)):
            return status
        p50, p95 = (self.recent_age(now_s, share) for share in (0.50, 0.95))
        return dataclasses.replace(status, age_p50_s=p50, age_p95_s=p95, shown_fps=rate)

    def whole_age(self, share: float) -> float:
        """The same over the whole run, to a millisecond."""
        if not self.count:
            return 0.0
        return float(np.searchsorted(np.cumsum(self._ages_ms), share * self.count)) / 1000

    def _forget(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0][0] > OVER_S:
            self._recent.popleft()
