"""Each part of a frame's way alone: the network by three clocks, every step, and the likeness to float32."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vdeblur.frame import Frame
from vdeblur.measure import laps
from vdeblur.measure.bench_rows import Network, Parity, Stage, Work

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.engine.lane import Step

BUDGET_S = 10.0
"""For the network, the engine and the whole each, where they do not come to 100 frames before."""
SMALL_BUDGET_S = 1.0
"""For each of the small steps."""


def network(engine: Deblurrer, frame: Frame, device: str, wait: Callable[[], object]) -> Network:
    """The network by each clock that the device has; what it has to do is told apart."""
    step = engine.steps(frame)["network"]
    timed = laps.synchronised(step.start, wait, step.frames, budget_s=BUDGET_S)
    if not device.startswith("cuda"):
        return Network(timed, timed, None, None)
    asking = laps.launched(step.start, wait, step.frames, count=timed.count)
    return Network(asking, timed, _by_events(step, timed.count, device), None)


def _by_events(step: Step, count: int, device: str) -> laps.Laps:
    """By the device's clock, on the stream that the work is queued on."""
    import torch

    event: Any = torch.cuda.Event
    stream = step.stream or torch.cuda.current_stream(device)
    pairs = [(event(enable_timing=True), event(enable_timing=True)) for _ in range(count)]
    for begin, end in pairs:
        begin.record(stream)
        step.start()
        end.record(stream)
    torch.cuda.synchronize(device)
    return laps.laps_of([begin.elapsed_time(end) / 1000 / step.frames for begin, end in pairs])


def steps(
    engine: Deblurrer, frames: Sequence[Frame], network: Network, wait: Callable[[], object]
) -> list[Stage]:
    """The steps that can be taken apart, and the engine: frames in memory to frames in memory, steady."""
    stages: list[Stage] = []
    for name, step in engine.steps(frames[0]).items():
        if name == "network":
            timed = network.synchronised
        else:
            timed = laps.synchronised(step.start, wait, step.frames, budget_s=SMALL_BUDGET_S)
        stages.append(Stage(name, timed.p50_s, timed))
    stamps: list[float] = []
    begin = time.perf_counter()

    def fed() -> Iterator[Frame]:
        for index in itertools.count():
            enough = len(stamps) > laps.ENOUGH or time.perf_counter() - begin > BUDGET_S
            if enough and len(stamps) > 2 + laps.LEAST:
                return
            yield frames[index % len(frames)]

    for _ in engine.deblur(fed()):
        stamps.append(time.perf_counter())
    steady = stamps[2:]
    stages.append(Stage("engine", (steady[-1] - steady[0]) / (len(steady) - 1), laps.between(steady)))
    return stages


def work(operations: int, peak: Any, s_per_frame: float) -> Work:
    return Work(
        gmac=operations / 2e9,
        tflops=operations / s_per_frame / 1e12,
        peak_tflops=None if peak is None else peak.tflops,
        peak_of=None if peak is None else peak.of,
    )


def parity(plain: Sequence[Frame], fast: Sequence[Frame]) -> Parity:
    scale = 2.0 ** (8 - plain[0].layout.depth - plain[0].layout.lsb)
    pairs = (
        (a, b) for x, y in zip(plain, fast, strict=True) for a, b in zip(x.planes, y.planes, strict=True)
    )
    apart = np.concatenate([np.abs(a.astype(np.float64) - b).ravel() * scale for a, b in pairs])
    square = float(np.mean(np.square(apart)))
    psnr_db = 10 * math.log10(255**2 / square) if square else None
    return Parity(psnr_db, float(np.percentile(apart, 99.9)), float(apart.max()), len(fast))


def waiting(device: str) -> Callable[[], object]:
    """What waits until the device has done all it was asked for."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)
