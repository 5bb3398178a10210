"""The flicker index: 1 for what moves as the reference does, more for what changes by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vdeblur.errors import MissingRuntimeError
from vdeblur.measure.flicker import Flicker

Pixels = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture
def flicker() -> Flicker:
    try:
        return Flicker()
    except MissingRuntimeError as error:
        pytest.skip(str(error))


def moving(count: int = 6, step: int = 2) -> list[Pixels]:
    """A smooth random picture that moves sideways, with the same small noise in every frame of its own."""
    rng = np.random.default_rng(5)
    wide = rng.random((20, 40, 3)).astype(np.float32)
    big = wide.repeat(6, axis=0).repeat(6, axis=1)
    kernel = np.hanning(13) / np.hanning(13).sum()
    for axis in (0, 1):
        big = np.apply_along_axis(lambda line: np.convolve(line, kernel, "same"), axis, big).astype(
            np.float32
        )
    frames = [big[10:106, 10 + step * n : 170 + step * n] for n in range(count)]
    return [(0.2 + 0.6 * f + rng.normal(0, 0.004, f.shape)).astype(np.float32) for f in frames]


def test_what_moves_like_the_reference_has_index_1(flicker: Flicker) -> None:
    for number, frame in enumerate(moving()):
        flicker.add(number, frame, frame, frame)
    score = flicker.score()
    assert score is not None
    assert score.steps == 5
    assert score.index == pytest.approx(1, abs=1e-6)
    assert score.result < 4  # of 255: motion is compensated; without, neighbours differ by far more


def test_changing_brightness_raises_the_index(flicker: Flicker) -> None:
    for number, frame in enumerate(moving()):
        flicker.add(number, frame, frame + np.float32(0.02 * (-1) ** number), frame)
    score = flicker.score()
    assert score is not None
    assert score.result == pytest.approx(0.04 * 255, rel=0.15)
    assert score.index is not None
    assert score.index > 3
    assert score.input_index == pytest.approx(1)


def test_leaps_and_cuts_are_not_counted(flicker: Flicker) -> None:
    frames = moving()
    for number, frame in zip((0, 5, 11), frames, strict=False):
        flicker.add(number, frame, frame, frame)
    assert flicker.score() is None


def test_a_still_reference_gives_no_index(flicker: Flicker) -> None:
    frame = moving(1)[0]
    for number in range(3):
        flicker.add(number, frame, frame, frame)
    score = flicker.score()
    assert score is not None
    assert score.index is None
