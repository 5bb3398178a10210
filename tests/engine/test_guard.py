"""The guard lets through what deblurring does and stops what it cannot do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdeblur.engine.guard import BLOCK, BOUNDS, figures, is_sound


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 2, 40, 69), (0, 1, 20, 33)])
def test_one_bad_pixel_is_enough(value: float, place: tuple[int, ...]) -> None:
    difference = torch.zeros(1, 3, 41, 70)
    difference[place] = value
    assert not is_sound(difference)


def test_nonsense_in_one_corner_is_seen() -> None:
    difference = torch.zeros(1, 3, 720, 1280)
    difference[..., -BLOCK:, -BLOCK:] = 0.9
    rms, shift, _ = figures(difference).tolist()
    assert rms < BOUNDS.rms
    assert shift < BOUNDS.shift
    assert not is_sound(difference)


def test_a_change_of_brightness_is_seen() -> None:
    assert not is_sound(torch.full((1, 3, 64, 64), BOUNDS.shift * 1.1))
    assert is_sound(torch.full((1, 3, 64, 64), BOUNDS.shift * 0.9))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), size=st.floats(0, 0.1))
def test_pictures_of_any_size_are_judged(height: int, width: int, size: float) -> None:
    difference = torch.full((1, 3, height, width), size)
    difference[..., ::2] *= -1
    rms, _, block_rms = figures(difference).tolist()
    assert rms == pytest.approx(size, rel=1e-4, abs=1e-9)
    assert block_rms == pytest.approx(size, rel=1e-4, abs=1e-9)
    assert is_sound(torch.zeros(1, 3, height, width))
