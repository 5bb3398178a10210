"""Colour as plain numbers, each with its standard: luma and chroma matrices, and what code values mean.

RGB is non-linear (R'G'B' of the standards), 0 to 1. A matrix turns it into Y (0 to 1) and two colour
differences (-0.5 to 0.5). PQ and HLG pictures are code values like any other: no curve is undone. There is
no table of chroma siting: the engine spreads a chroma sample evenly over its luma pixels and averages
differences over the same pixels, so that siting cancels (`engine/planes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vdeblur.frame import Range

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def _from_weights(red: float, blue: float) -> Matrix:
    """The rows Y, Cb, Cr of a YCbCr matrix with these luma weights (ITU-R BT.601-7 section 2.5)."""
    green = 1.0 - red - blue
    luma = np.array([red, green, blue])
    cb = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - blue))
    cr = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - red))
    return np.stack([luma, cb, cr])


_BT601 = _from_weights(0.299, 0.114)
_BT2020 = _from_weights(0.2627, 0.0593)

MATRICES: dict[str, Matrix] = {
    "bt709": _from_weights(0.2126, 0.0722),  # ITU-R BT.709-6
    "bt470bg": _BT601,  # ITU-R BT.470-6 system B, G; ITU-R BT.601-7 625 lines
    "smpte170m": _BT601,  # SMPTE ST 170; ITU-R BT.601-7 525 lines
    "fcc": _from_weights(0.30, 0.11),  # FCC Title 47, 73.682 (a) (20)
    "smpte240m": _from_weights(0.212, 0.087),  # SMPTE ST 240
    "bt2020nc": _BT2020,  # ITU-R BT.2020-2, non-constant luminance
    # ITU-T H.273 matrix 8: the planes hold Y, Cg, Co in this order
    "ycgco": np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]]),
    # Not linear in R'G'B'; the linear matrix nearest to them serves, as only differences are turned back:
    "bt2020c": _BT2020,  # ITU-R BT.2020-2, constant luminance
    "ictcp": _BT2020,  # ITU-R BT.2100-2
    # Pictures without chroma planes; the first row weighs a change of RGB for a grey picture (BT.709).
    "rgb": _from_weights(0.2126, 0.0722),
}

MATRIX_OF_TAG: dict[int, str] = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    14: "ictcp",
}
"""Keys of `MATRICES` by the number in the file (ITU-T H.273 MatrixCoefficients, FFmpeg's AVColorSpace)."""


def matrix_for(tag: int, height: int) -> str:
    """The key for a YCbCr stream; an untagged one counts as BT.709 from 720 lines on, else as BT.601."""
    key = MATRIX_OF_TAG.get(tag, "rgb")
    if key != "rgb":
        return key
    return "bt709" if height >= 720 else "smpte170m"


def yuv_to_rgb(key: str) -> Matrix:
    """The inverse of `MATRICES[key]`: its first column is ones, luma counts fully for each of R, G, B."""
    return np.linalg.inv(MATRICES[key]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Codes:
    """What the code values of a component mean: value = (code - zero) / unit.

    zero   code of 0.0
    unit   codes for 1.0
    low    least code of the nominal range
    high   greatest code of the nominal range
    """

    zero: float
    unit: float
    low: int
    high: int


def luma_codes(depth: int, range_: Range) -> Codes:
    """Y, R, G or B (ITU-R BT.709-6 table 5, BT.2100-2 table 9; ITU-T H.273 equations 20 to 28)."""
    top = (1 << depth) - 1
    if range_ == "full":
        return Codes(0.0, float(top), 0, top)
    step = 1 << (depth - 8)
    return Codes(16.0 * step, 219.0 * step, 16 * step, 235 * step)


def chroma_codes(depth: int, range_: Range) -> Codes:
    """Cb or Cr; its zero lies in the middle of the codes (same standards as `luma_codes`)."""
    top = (1 << depth) - 1
    middle = float(1 << (depth - 1))
    if range_ == "full":
        return Codes(middle, float(top), 0, top)
    step = 1 << (depth - 8)
    return Codes(middle, 224.0 * step, 16 * step, 240 * step)
