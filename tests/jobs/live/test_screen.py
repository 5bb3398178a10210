"""What is drawn: pictures keep their shape in any window, the line stands in its place, figures are true."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs.live.display import status

from vdeblur.jobs.live.canvas import MODES, compose, text_size, write_box
from vdeblur.jobs.live.view import Controls

SIDES = st.integers(1, 300)
STATUS = status(Controls(0.7))


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(MODES), st.floats(0, 1))
def test_any_picture_fits_any_window_in_its_own_shape(
    width: int, height: int, across: int, down: int, mode: str, split: float
) -> None:
    before, after = (np.full((height, width, 3), value, np.uint8) for value in (90, 180))
    canvas, box = compose(before, after, mode, split, across, down)
    assert canvas.shape == (down, across, 3)
    assert box.x >= 0
    assert box.y >= 0
    assert box.x + box.width <= across
    assert box.y + box.height <= down
    room = max(across // 2, 1) if mode == "side by side" else across
    scale = min(room / width, down / height)  # as large as it can be, and never thinner than a pixel
    assert box.width == pytest.approx(max(width * scale, 1), abs=0.51)
    assert box.height == pytest.approx(max(height * scale, 1), abs=0.51)


def test_pixels_are_those_of_the_pictures_where_nothing_is_scaled() -> None:
    rng = np.random.default_rng(3)
    before, after = (rng.integers(0, 256, (40, 60, 3)).astype(np.uint8) for _ in range(2))
    canvas, box = compose(before, after, "split", 0.25, 60, 40)
    assert (box.x, box.y, box.width, box.height) == (0, 0, 60, 40)
    assert np.array_equal(canvas[:, :13], before[:, :13, ::-1])  # blue first, for OpenCV
    assert np.array_equal(canvas[:, 17:], after[:, 17:, ::-1])
    assert np.array_equal(compose(before, after, "result alone", 0.25, 60, 40)[0], after[..., ::-1])
    both, _ = compose(before, after, "side by side", 0.25, 120, 40)
    assert np.array_equal(both, np.concatenate((before, after), axis=1)[..., ::-1])
    for split, picture in ((0.0, after), (1.0, before)):
        canvas, _ = compose(before, after, "split", split, 60, 40)
        assert np.array_equal(canvas[:, 4:-4], picture[:, 4:-4, ::-1])


def test_figures_say_everything_that_matters() -> None:
    assert STATUS.lines(0.07) == [
        "captured 30.0 fps, shown 24.0 fps, dropped 9",
        "age 50 ms, 95 % under 80 ms",
        "mimo-unet-tiny at 1/2 on cpu, strength 70%",
    ]
    busy = dataclasses.replace(STATUS, frozen=True, recording=Path("/home/me/out.mp4"))
    assert busy.lines(0.07)[-1] == "frozen, recording out.mp4"
    assert dataclasses.replace(STATUS, refused=3).lines(0.07)[0].endswith("dropped 9, 3 not corrected")


@pytest.mark.parametrize("p95_s", [0.0, 0.0888])
def test_a_picture_that_stays_says_its_age(p95_s: float) -> None:
    """Frozen, or the source is lost: no new picture, and the ages of the last seconds would flatter."""
    lost = dataclasses.replace(STATUS, age_p50_s=0.0, age_p95_s=p95_s)
    assert lost.lines(12.3)[1] == "this picture is 12 s old"
    slow = dataclasses.replace(STATUS, age_p50_s=2.0, age_p95_s=3.0)
    assert slow.lines(2.5)[1] == "age 2000 ms, 95 % under 3000 ms"
    nothing = dataclasses.replace(STATUS, age_p50_s=0.0, age_p95_s=0.0)
    assert "age" not in " ".join(nothing.lines())  # and certainly none of 0 ms


@given(st.integers(-50, 50), st.integers(-50, 50), st.text(max_size=40))
def test_text_is_cut_off_where_the_picture_ends(x: int, y: int, words: str) -> None:
    canvas = np.full((30, 40, 3), 200, np.uint8)
    write_box(canvas, [""], x, y)
    width, height = text_size([""])
    dark = np.zeros((30, 40), bool)
    dark[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = True
    assert np.array_equal(canvas[..., 0], np.where(dark, 50, 200))
    write_box(canvas, [words, words], x, y)  # whatever a device or a file is called
