"""Single pictures as arrays: height x width x 3 (RGB) or height x width (grey).

uint8, uint16 (0 to 65535), or float from 0 to 1.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vdeblur.engine.lane import Pixels
from vdeblur.frame import Component, Frame, PlaneLayout

LEAST_FLOAT, LARGEST_FLOAT = -0.5, 2.0
"""Of a picture from 0 to 1, with room for what filters overshoot; beyond it is -1 to 1, or 0 to 255."""


def checked(picture: Pixels) -> Pixels:
    """The picture, or ValueError that says what is expected."""
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"a picture is a numpy array, not {type(picture).__name__}: np.asarray makes one")
    shape_fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    type_fits = picture.dtype in (np.uint8, np.uint16) or picture.dtype.kind == "f"
    if not (shape_fits and type_fits and picture.size):
        raise ValueError(
            "a picture is height x width x 3 or height x width of uint8, uint16 or float, "
            f"not {picture.dtype} {picture.shape}"
        )
    if picture.dtype.kind == "f":
        least, most = float(picture.min()), float(picture.max())
        if not (least >= LEAST_FLOAT and most <= LARGEST_FLOAT):  # also where one is not a number
            raise ValueError(f"a picture of float goes from 0 to 1, this one from {least:g} to {most:g}")
    return picture


def values(picture: Pixels) -> Pixels:
    """As float32 from 0 to 1."""
    found = picture.astype(np.float32)
    if picture.dtype.kind == "u":
        found /= np.iinfo(picture.dtype).max
    return found


def frame_of(picture: Pixels) -> Frame:
    """A full-range frame around a picture: one packed plane of RGB, or one of grey."""
    height, width = picture.shape[:2]
    wide = picture.dtype != np.uint8
    grey = picture.ndim == 2
    layout = PlaneLayout(
        name=("gray16le" if wide else "gray") if grey else ("rgb48le" if wide else "rgb24"),
        width=width,
        height=height,
        kind="gray" if grey else "rgb",
        depth=16 if wide else 8,
        subsampling=(1, 1),
        components=(Component(0),) if grey else tuple(Component(0, i) for i in range(3)),
        range="full",
        matrix="rgb",
    )
    return Frame((picture,), layout, 0, Fraction(1, 25), 1, 0)
