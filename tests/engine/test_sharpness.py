"""Which frames are sharp already: whatever their format, size and depth."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from vdeblur.engine.sharpness import sharpness
from vdeblur.frame import Component, Frame, PlaneLayout


def grey(picture: np.ndarray, depth: int = 8, lsb: int = 0) -> Frame:
    height, width = picture.shape
    layout = PlaneLayout(
        "gray", width, height, "gray", depth, (1, 1), (Component(0),), "full", "rgb", lsb=lsb
    )
    return Frame((picture,), layout, 0, Fraction(1, 25), 1, 0)


def detail() -> np.ndarray:
    """A sharp photograph, 303 rows x 384 columns."""
    from skimage import data

    return data.camera()[200:503, 60:444].copy()


def moved(picture: np.ndarray, length: int, down: int = 0, across: int = 1) -> np.ndarray:
    """Motion blur along one direction."""
    steps = [np.roll(picture, (down * i, across * i), (0, 1)).astype(float) for i in range(length)]
    return np.rint(np.mean(steps, axis=0)).astype(np.uint8)


@pytest.mark.parametrize(("down", "across"), [(0, 1), (1, 0), (1, 1), (1, -1)])
def test_motion_in_any_direction_is_seen(down: int, across: int) -> None:
    sharp = detail()
    assert sharpness(grey(sharp)) > 1
    values = [sharpness(grey(moved(sharp, length, down, across))) for length in (3, 5, 9)]
    assert max(values) < 1
    less, more, most = (sharpness(grey(moved(sharp, length, down, across))) for length in (2, 3, 4))
    assert less > more > most


def test_a_quarter_of_the_picture_in_motion_is_enough() -> None:
    picture = detail()
    picture[:, :96] = moved(picture, 9)[:, :96]
    assert sharpness(grey(picture)) < 1 < sharpness(grey(detail()))


def test_depth_and_place_of_the_bits_do_not_matter() -> None:
    picture = moved(detail(), 3)
    wide = picture.astype(np.uint16)
    assert sharpness(grey(wide << 2, depth=10)) == sharpness(grey(picture))
    assert sharpness(grey(wide << 8, depth=10, lsb=6)) == sharpness(grey(picture))


def test_colour_pictures_are_judged_by_luma_or_green() -> None:
    picture = moved(detail(), 3)
    size = picture.shape[1], picture.shape[0]
    packed = np.dstack([detail(), picture, detail()])
    layout = PlaneLayout(
        "rgb24", *size, "rgb", 8, (1, 1), tuple(Component(0, i) for i in range(3)), "full", "rgb"
    )
    assert sharpness(Frame((packed,), layout, 0, Fraction(1, 25), 1, 0)) == sharpness(grey(picture))
    chroma = np.full((152, 192), 128, np.uint8)
    parts = tuple(Component(i) for i in range(3))
    layout = PlaneLayout("yuv420p", *size, "yuv", 8, (2, 2), parts, "limited", "bt709")
    assert sharpness(Frame((picture, chroma, chroma), layout, 0, Fraction(1, 25), 1, 0)) == sharpness(
        grey(picture)
    )


@pytest.mark.parametrize("deviation", [3, 4, 8])
def test_noise_is_not_taken_for_detail(deviation: float) -> None:
    """A blurred night, with bars above and below that a player has painted clean."""
    noise = np.random.default_rng(0).normal(0, deviation, detail().shape)
    picture = np.clip(moved(detail(), 9) + noise, 0, 255).astype(np.uint8)
    picture[:40], picture[-40:] = 16, 16
    assert sharpness(grey(picture)) < 1


def test_a_line_of_words_on_black_is_seen_wherever_it_stands() -> None:
    words = np.kron(np.random.default_rng(0).integers(0, 2, (3, 60)), np.ones((8, 8)))
    for row in range(300, 420, 15):
        picture = np.full((1080, 1920), 16, np.uint8)
        picture[row : row + 24, 700 : 700 + 480] += (150 * words).astype(np.uint8)
        assert sharpness(grey(picture)) < 1


def test_what_cannot_be_told_is_not_called_sharp() -> None:
    assert sharpness(grey(np.full((240, 320), 16, np.uint8))) == math.inf  # nothing to sharpen at all
    assert sharpness(grey(detail()[:30, :30])) == 0  # smaller than a block
    faint = np.full((240, 320), 100, np.uint8)
    faint[:, ::8] += 10
    assert sharpness(grey(faint)) == 0
