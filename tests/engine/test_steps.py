"""The steps of a frame can each be done alone, again and again, without touching what frames come to."""

from __future__ import annotations

import numpy as np
from engine import standins

from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.measure import reel


def test_steps_are_named_repeatable_and_leave_no_trace() -> None:
    frame, other = reel.frames(64, 48, 2)
    network = standins.ConstantDifference(0.05, 0.0, 0.0)
    with Deblurrer(network, device="cpu", backend="torch", precision="fp32") as engine:
        expected = next(engine.deblur([other])).planes
        steps = engine.steps(frame)
        for _ in range(2):
            for step in steps.values():
                step.start()
        assert list(steps) == ["upload", "planes to RGB", "network", "residual", "download"]
        assert all(step.frames == 1 for step in steps.values())
        after = next(engine.deblur([other])).planes
    assert all(np.array_equal(a, b) for a, b in zip(expected, after, strict=True))
