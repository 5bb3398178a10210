"""Is this a result that deblurring can give? Three figures of a difference, and the bounds they must keep.

A frame whose result breaks a bound is done again in float32; if that breaks one too, the source frame
passes and is counted (`Fate`). The figures are computed on the device; the decision waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Bounds:
    """Greatest values of a sound result; pixels count 0 to 1.

    rms         root of the mean square of the difference
    shift       mean of the difference, absolute: brightness must stay
    block_rms   greatest rms of the difference within a block of BLOCK x BLOCK px: nonsense in one corner
    """

    rms: float
    shift: float
    block_rms: float


BLOCK = 32
BOUNDS = Bounds(rms=0.25, shift=0.08, block_rms=0.60)
"""A good twice of what the true differences (sharp - blurred) of 42 real pairs reach: rms 0.106, shift 0.029,
block rms 0.282. Ours stay far below: 0.057, 0.010 and 0.177 on the blurred pictures,
0.010, 0.001 and 0.036 on the sharp ones. `python scripts/measure_engine.py guard PAIRS`, docs/engine.md.
"""


def figures(difference: Tensor) -> Tensor:
    """(rms, shift, block_rms) of a difference (1, 3, height, width), a float32 tensor on its device."""
    import torch

    with torch.inference_mode():
        square = difference.square().mean(1, keepdim=True)
        rows, columns = (min(BLOCK, side) for side in square.shape[-2:])
        # Down, then across: in one go few numbers come out, and a GPU has a thread sum up all of one's block.
        pool = torch.nn.functional.avg_pool2d
        blocks = pool(pool(square, (rows, 1), ceil_mode=True), (1, columns), ceil_mode=True)
        return torch.stack([square.mean().sqrt(), difference.mean().abs(), blocks.max().sqrt()])


def figures_of(difference: np.ndarray[Any, Any]) -> list[float]:
    """The same of an array (3, height, width)."""
    square = np.square(difference).mean(axis=0)
    rows, columns = (np.arange(0, size, BLOCK) for size in square.shape)
    sums = np.add.reduceat(np.add.reduceat(square, rows, axis=0), columns, axis=1)
    lengths = (np.diff([*starts, size]) for starts, size in zip((rows, columns), square.shape, strict=True))
    counts = np.outer(*lengths)
    figures = square.mean() ** 0.5, abs(difference.mean()), (sums / counts).max() ** 0.5
    return [float(figure) for figure in figures]


def is_sound(difference: Tensor) -> bool:
    """Whether a difference is finite and within the bounds."""
    return within(figures(difference).tolist())


def within(found: Sequence[float]) -> bool:
    """Whether `figures` keep the bounds (NaN and infinities break every comparison)."""
    rms, shift, block_rms = found
    return bool(rms <= BOUNDS.rms and shift <= BOUNDS.shift and block_rms <= BOUNDS.block_rms)
