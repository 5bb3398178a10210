"""Matrices and ranges against the standards' own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from vdeblur import colour

# Colour bars, 75 %, 8 bit: white, yellow, cyan, green, magenta, red, blue, black (Y, Cb, Cr).
BARS_RGB = 0.75 * np.array(
    [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
)
BARS = {
    "smpte170m": "180 128 128 162 44 142 131 156 44 112 72 58 84 184 198 65 100 212 35 212 114 16 128 128",
    "bt709": "180 128 128 168 44 136 145 147 44 133 63 52 63 193 204 51 109 212 28 212 120 16 128 128",
}
# The weights of green and the divisors that the standards print.
PRINTED = {  # key: (Kg, divisor of B-Y, divisor of R-Y)
    "bt709": (0.7152, 1.8556, 1.5748),  # BT.709-6 items 3.2, 3.3
    "bt470bg": (0.587, 1.772, 1.402),  # BT.601-7 section 2.5
    "smpte170m": (0.587, 1.772, 1.402),
    "bt2020nc": (0.6780, 1.8814, 1.4746),  # BT.2020-2 table 4
    "smpte240m": (0.701, 1.826, 1.576),  # ST 240 section 5
    "fcc": (0.59, 1.78, 1.40),  # H.273 table 4
}


@pytest.mark.parametrize("key", BARS)
def test_colour_bars_have_the_standard_codes(key: str) -> None:
    yuv = BARS_RGB @ colour.MATRICES[key].T
    luma, chroma = colour.luma_codes(8, "limited"), colour.chroma_codes(8, "limited")
    codes = np.stack([yuv[:, 0] * luma.unit + luma.zero, *(yuv[:, 1:] * chroma.unit + chroma.zero).T], axis=1)
    assert np.array_equal(np.rint(codes), np.array(BARS[key].split(), float).reshape(-1, 3))


@pytest.mark.parametrize("key", PRINTED)
def test_matrices_are_those_that_the_standards_print(key: str) -> None:
    green, blue_divisor, red_divisor = PRINTED[key]
    matrix = colour.MATRICES[key]
    assert matrix[0].sum() == pytest.approx(1.0, abs=1e-12)
    assert matrix[0, 1] == pytest.approx(green, abs=1e-9)
    assert matrix[1] * blue_divisor == pytest.approx(np.array([0, 0, 1]) - matrix[0], abs=1e-9)
    assert matrix[2] * red_divisor == pytest.approx(np.array([1, 0, 0]) - matrix[0], abs=1e-9)


@pytest.mark.parametrize("key", colour.MATRICES)
def test_every_matrix_keeps_grey_and_can_be_undone(key: str) -> None:
    matrix = colour.MATRICES[key]
    assert matrix @ np.ones(3) == pytest.approx([1, 0, 0], abs=1e-12)
    assert colour.yuv_to_rgb(key) @ matrix == pytest.approx(np.eye(3), abs=1e-12)
    assert colour.yuv_to_rgb(key)[:, 0] == pytest.approx(np.ones(3), abs=1e-12)


def test_ycgco_is_that_of_h273() -> None:
    """R = Y - Cg + Co, G = Y + Cg, B = Y - Cg - Co (ITU-T H.273, matrix 8)."""
    assert colour.yuv_to_rgb("ycgco") == pytest.approx(
        np.array([[1, -1, 1], [1, 1, 0], [1, -1, -1]]), abs=1e-12
    )


@pytest.mark.parametrize(
    ("depth", "black", "white", "neutral", "chroma_low", "chroma_high"),
    [(8, 16, 235, 128, 16, 240), (10, 64, 940, 512, 64, 960), (12, 256, 3760, 2048, 256, 3840)],
)
def test_limited_codes_are_those_of_bt2100_table_9(
    depth: int, black: int, white: int, neutral: int, chroma_low: int, chroma_high: int
) -> None:
    luma, chroma = colour.luma_codes(depth, "limited"), colour.chroma_codes(depth, "limited")
    assert (luma.zero, luma.zero + luma.unit, luma.low, luma.high) == (black, white, black, white)
    assert (chroma.zero, chroma.low, chroma.high) == (neutral, chroma_low, chroma_high)
    assert chroma.zero + 0.5 * chroma.unit == chroma_high


def test_full_codes_use_every_code() -> None:
    luma, chroma = colour.luma_codes(10, "full"), colour.chroma_codes(10, "full")
    assert (luma.zero, luma.unit, luma.low, luma.high) == (0, 1023, 0, 1023)
    assert (chroma.zero, chroma.unit, chroma.low, chroma.high) == (512, 1023, 0, 1023)


@pytest.mark.parametrize(
    ("tag", "height", "key"),
    [(1, 100, "bt709"), (9, 100, "bt2020nc"), (2, 576, "smpte170m"), (2, 720, "bt709"), (0, 1080, "bt709")],
)
def test_untagged_streams_are_guessed_by_their_height(tag: int, height: int, key: str) -> None:
    assert colour.matrix_for(tag, height) == key
