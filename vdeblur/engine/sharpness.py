"""How sharp a frame is, from its luma alone: cheap enough to be asked before the network runs.

Blur of any kind makes a picture smooth from one pixel to the next along at least one direction, while over
four pixels it still changes. So in small blocks all over the picture the mean change over one pixel is
divided by that over four, in four directions; the smallest of the four is the block's. A frame is as sharp as
its middle block and its softest ones. Drawings of plain areas never count as sharp: an edge alone changes as
much over one pixel as over four. Nor do noisy pictures: so does noise, whatever lies below it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vdeblur.engine.lane import component_of
from vdeblur.frame import Fate, Frame

Values = np.ndarray[Any, np.dtype[np.float32]]

MIDDLE, SOFTEST = 0.36, 0.29
"""Ratios of the median block and of the tenth percentile in frames that gain nothing: no blurred frame of
real pairs reaches both, of synthetic ones one in ten that gain little (docs/speed.md)."""

_BLOCK, _FAR = 32, 4
_MOST_BLOCKS = 300  # spread evenly over the picture: 4 ms, however large it is
_TEXTURE, _FLAT = 6.0, 1.5  # mean change over four pixels, in 1/255
_NOISIEST = 1.6
"""Standard deviation, in 1/255, of the quieter blocks. Sharp pictures of real pairs reach 1.2; with noise of
2 a quarter of the blurred ones would count as sharp, with noise of 3 all of them (docs/speed.md)."""
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


def sharpness(frame: Frame) -> float:
    """1 and more: sharp all over; infinite where nothing is to be seen; 0 where there is too little to
    tell.
    """
    luma = _luma(frame)
    blocks = _blocks(luma, _MOST_BLOCKS)
    if not len(blocks):
        return 0.0
    near, far = _changes(blocks)
    if far.max() < _FLAT:  # but between the blocks there may be something, as words on black
        return math.inf if _changes(_blocks(luma, math.inf))[1].max() < _FLAT else 0.0
    textured = far.max(axis=0) > _TEXTURE
    if textured.sum() < 4 or np.percentile(_noise(blocks[textured]), 20) > _NOISIEST:
        return 0.0
    # The constants keep rounding to whole codes from counting as detail.
    ratios = ((near + 0.25) / (far + 1.0)).min(axis=0)[textured]
    softest, middle = np.percentile(ratios, (10, 50))
    return float(min(middle / MIDDLE, softest / SOFTEST))


def all_but_sharp(
    frames: Iterable[Frame], least: float, deblur: Callable[[Iterable[Frame]], Iterator[Frame]]
) -> Iterator[Frame]:
    """Frames in order: those of a `sharpness` of `least` and more as they are, the others by `deblur`."""
    for is_sharp, group in groupby(frames, key=lambda frame: sharpness(frame) >= least):
        if is_sharp:
            yield from (dataclasses.replace(frame, fate=Fate.SHARP) for frame in group)
        else:
            yield from deblur(group)


def _luma(frame: Frame) -> Any:
    """Rows x columns as 8-bit codes: luma, or green."""
    layout = frame.layout
    values = component_of(frame.planes, layout.components[1 if layout.kind == "rgb" else 0])
    return values >> max(0, layout.depth + layout.lsb - 8)


def _blocks(luma: Any, most: float) -> Any:
    """Blocks with a border of four pixels, spread evenly over the picture: (count, rows, columns), int16."""
    side = _BLOCK + 2 * _FAR
    if min(luma.shape) < side:
        return np.empty((0, side, side), np.int16)
    rows, columns = (length // _BLOCK for length in luma.shape)
    stride = _BLOCK * max(1, math.ceil(math.sqrt(rows * columns / most)))
    blocks = sliding_window_view(luma, (side, side))[::stride, ::stride]
    return blocks.reshape(-1, side, side).astype(np.int16)


def _changes(blocks: Any) -> tuple[Values, Values]:
    """Mean absolute change over one and over four pixels: directions x blocks."""
    inner = blocks[:, _FAR:-_FAR, _FAR:-_FAR]

    def change(down: int, across: int) -> Values:
        top, left = _FAR + down, _FAR + across
        moved = blocks[:, top : top + _BLOCK, left : left + _BLOCK]
        return np.asarray(np.abs(inner - moved).mean(axis=(1, 2)), np.float32)

    near = np.stack([change(down, across) for down, across in _STEPS])
    far = np.stack([change(_FAR * down, _FAR * across) for down, across in _STEPS])
    return near, far


def _noise(blocks: Any) -> Values:
    """Standard deviation of the noise of each block (Immerkaer, 1996): edges and ramps leave nothing."""
    rows = blocks[:, :-2] - 2 * blocks[:, 1:-1] + blocks[:, 2:]
    both = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    # Of half the pixels at least: texture, or the clean edge of a painted bar, stands in the others.
    return np.asarray(np.median(np.abs(both[:, ::2, ::2]), axis=(1, 2)) / (6 * 0.6745), np.float32)
