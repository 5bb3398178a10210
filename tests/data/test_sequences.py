"""Windows of neighbouring frames end at the borders of their clip."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from vdeblur.data.layouts import PairedClip, PairedFrame
from vdeblur.data.sequences import window


def clip(numbers: Iterable[int]) -> PairedClip:
    return PairedClip("c", tuple(PairedFrame(Path(f"b{n}"), Path(f"s{n}"), n) for n in numbers))


def seen(frames: Iterable[PairedFrame]) -> list[int]:
    return [frame.number for frame in frames]


def test_neighbours_in_the_middle_and_at_the_borders() -> None:
    five = clip(range(5))
    assert seen(window(five, 2, 5)) == [0, 1, 2, 3, 4]
    assert seen(window(five, 0, 5)) == [0, 0, 0, 1, 2]
    assert seen(window(five, 4, 3)) == [3, 4, 4]
    assert seen(window(five, 3, 1)) == [3]


def test_a_leap_in_the_numbers_is_a_border() -> None:
    parted = clip([462, 463, 464, 1242, 1243])
    assert seen(window(parted, 2, 5)) == [462, 463, 464, 464, 464]
    assert seen(window(parted, 3, 3)) == [1242, 1242, 1243]


def test_every_tenth_frame_is_a_series_too() -> None:
    assert seen(window(clip([0, 10, 20]), 1, 3)) == [0, 10, 20]
    assert seen(window(clip([7]), 0, 3)) == [7, 7, 7]


def test_windows_without_a_middle_are_refused() -> None:
    with pytest.raises(ValueError, match="must be odd"):
        window(clip(range(3)), 0, 2)
