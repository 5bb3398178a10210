"""Stored words and code values in OpenVINO's operations: what `engine/planes.py` does to one component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from openvino import opset15 as op

from vdeblur.colour import Codes
from vdeblur.frame import PlaneLayout

Node = Any
"""An output of an OpenVINO operation."""


def word_type(layout: PlaneLayout) -> Any:
    """The numpy type of a component's words."""
    return np.uint8 if layout.depth + layout.lsb <= 8 else np.uint16


def values(words: Node, layout: PlaneLayout, codes: Codes) -> Node:
    return op.multiply(op.subtract(code_values(words, layout), scalar(codes.zero)), scalar(1.0 / codes.unit))


def code_values(words: Node, layout: PlaneLayout) -> Node:
    found = op.convert(words, np.float32)
    return op.floor(op.multiply(found, scalar(2.0**-layout.lsb))) if layout.lsb else found


def added(words: Node, change: Node, layout: PlaneLayout, codes: Codes) -> Node:
    before = code_values(words, layout)
    low, high = op.minimum(before, scalar(codes.low)), op.maximum(before, scalar(codes.high))
    after = op.minimum(op.maximum(op.round(op.add(before, change), "half_to_even"), low), high)
    if layout.lsb:  # the bits below the sample stay: all of it is exact in float32
        step = scalar(2.0**layout.lsb)
        below = op.subtract(op.convert(words, np.float32), op.multiply(before, step))
        after = op.add(op.multiply(after, step), below)
    return op.convert(after, word_type(layout))


def weighted(channels: Sequence[Node], weights: Any) -> Node:
    """The sum of red, green and blue by these weights; no convolution, which might run in bfloat16."""
    red, green, blue = (
        op.multiply(channel, scalar(weight)) for channel, weight in zip(channels, weights, strict=True)
    )
    return op.add(op.add(red, green), blue)


def figures(difference: Node, size: tuple[int, int], block: int) -> Node:
    """`guard.figures` (rms, shift, greatest rms of a block) of a picture of this (height, width)."""
    axes = np.array([0, 1, 2, 3])
    square = op.reduce_mean(op.multiply(difference, difference), np.array([1]), True)
    kernel = [min(block, size[0]), min(block, size[1])]
    short = [-size[0] % kernel[0], -size[1] % kernel[1]]
    means = op.avg_pool(square, kernel, [0, 0], short, kernel, True)
    found = (
        op.sqrt(op.reduce_mean(square, axes, True)),
        op.absolute(op.reduce_mean(difference, axes, True)),
        op.sqrt(op.reduce_max(means, axes, True)),
    )
    return op.concat([op.reshape(value, np.array([1]), False) for value in found], 0)


def cropped(x: Node, size: tuple[int, int]) -> Node:
    rows, columns = tuple(x.shape)[2:]
    if (rows, columns) == size:
        return x
    return op.slice(x, np.array([0, 0]), np.array(size), np.array([1, 1]), np.array([2, 3]))


def repeated(x: Node, down: int, across: int) -> Node:
    """Larger by repeating each pixel."""
    return op.interpolate(
        x,
        np.array([down, across], np.float32),
        "nearest",
        "scales",
        axes=np.array([2, 3]),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def row(values: Any) -> Any:
    """A value for each channel."""
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)


def scalar(value: float) -> Any:
    return np.float32(value)
