"""Times of laps as values: what the clocks said, warm-up left out, with percentiles and spread.

Nothing here knows what is timed. A device that works by itself is waited for with `wait`; without waiting a
clock only sees how long it took to ask (`launched`), the figure that has misled this field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ENOUGH = 100
"""Laps; no more are needed."""
LEAST = 3


@dataclass(frozen=True, slots=True)
class Laps:
    """`count` laps, seconds for a frame; `spread` is (p95 - p5) / p50, `cpu_s` processor seconds (median)."""

    count: int
    best_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    worst_s: float
    spread: float
    cpu_s: float | None = None

    @property
    def percentiles_s(self) -> tuple[float, float, float]:
        return self.p50_s, self.p95_s, self.p99_s

    @property
    def fps(self) -> float:
        """Frames a second, by the median."""
        return 1 / self.p50_s


def laps_of(seconds: Sequence[float], cpu: Sequence[float] = ()) -> Laps:
    """At least one lap, warm-up left out already."""
    best, p5, p50, p95, p99, worst = np.percentile(seconds, [0, 5, 50, 95, 99, 100]).tolist()
    p50 = max(p50, 1e-9)
    cpu_s = float(np.median(cpu)) if cpu else None
    return Laps(len(seconds), best, p50, p95, p99, worst, (p95 - p5) / p50, cpu_s)


def synchronised(
    start: Callable[[], object],
    wait: Callable[[], object],
    frames: int = 1,
    *,
    budget_s: float,
    warm_up: int = 2,
) -> Laps:
    """Each lap from asking to having: `start`, then `wait` for the device.

    Ends after ENOUGH laps or `budget_s` seconds, whichever comes first; warm-up laps are not counted.
    """
    for _ in range(warm_up):
        start()
    wait()
    seconds: list[float] = []
    cpu: list[float] = []
    while len(seconds) < LEAST or (len(seconds) < ENOUGH and sum(seconds) * frames < budget_s):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        start()
        wait()
        seconds.append((time.perf_counter() - begin) / frames)
        cpu.append((time.process_time() - begin_cpu) / frames)
    return laps_of(seconds, cpu)


def launched(start: Callable[[], object], wait: Callable[[], object], frames: int = 1, *, count: int) -> Laps:
    """The same without waiting: how long it takes to ask."""
    wait()
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        start()
        seconds.append((time.perf_counter() - begin) / frames)
    wait()
    return laps_of(seconds)


def between(stamps_s: Sequence[float]) -> Laps:
    """Frames that come out one after the other: the times between them."""
    return laps_of(np.diff(stamps_s).tolist())
