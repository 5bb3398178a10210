"""Overlapped tiles of one static size, the last of a row moved inwards, blended into one difference.

Sides and starts are multiples of the network's `multiple_of`, so that a tile sees the same grid as the
whole picture does. The weights of all tiles over a pixel sum to one; near a border of a tile that lies
inside the picture, where the network saw zeros instead of the neighbourhood, they are zero. Where that
strip is as wide as the network's reach, tiles give the whole picture's result; `overlap_for` says what is
used instead and how good it is.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vdeblur.errors import InputError
from vdeblur.models.contract import DeblurNetwork

MARGIN = 3 / 8
"""Share of an overlap, at a tile's border, that weighs nothing; tiles change over in the middle quarter."""
LEAST_OVERLAP = 96
OVERHEAD = 1.6
"""Peak of the process over `bytes_per_px`: scratch memory of the convolutions (measured 1.0 to 1.6)."""
SIZES = (1536, 1024, 768, 512, 384, 256)
"""Sides that `auto` tries when memory is short, largest first."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How a picture of whole units (height x width) is cut; `tile` is the (height, width) of every tile."""

    height: int
    width: int
    tile: tuple[int, int]
    overlap: int = 0
    rows: tuple[int, ...] = field(default=(0,))
    columns: tuple[int, ...] = field(default=(0,))

    @property
    def is_whole(self) -> bool:
        return self.tile == (self.height, self.width)

    @property
    def work_px(self) -> int:
        """Pixels that go through the network."""
        return len(self.rows) * len(self.columns) * self.tile[0] * self.tile[1]


def check(tile: str | int) -> str | int:
    """A --tile value: "auto", "off" or a side in px; refuses others with InputError."""
    if tile in ("auto", "off"):
        return tile
    try:
        side = int(tile)
    except ValueError:
        side = 0
    if side <= 0:
        raise InputError(f"--tile {tile}: not known, give auto, off or a side in pixels such as 512")
    return side


def whole(height: int, width: int) -> Grid:
    """The picture in one piece."""
    return Grid(height, width, (height, width))


def overlap_for(reach: int, multiple_of: int) -> int:
    """Pixels that neighbours share: enough to be exact for a short reach, else three eighths of it.

    Measured with the networks of the package (reach 259 px, so 104 px) on real pictures: at most 0.1 of 255
    from the whole picture's result (`docs/engine.md`).
    """
    exact = math.ceil(reach / MARGIN)
    return _up(min(exact, max(LEAST_OVERLAP, math.ceil(reach * 3 / 8))), multiple_of)


def least_side(overlap: int, multiple_of: int) -> int:
    """The smallest tile: two overlaps and something between them."""
    return 2 * overlap + multiple_of


def cut(height: int, width: int, side: int, multiple_of: int, overlap: int) -> Grid:
    """Tiles of `side` x `side` px, rounded down to whole units, no larger than the picture.

    Raises InputError where tiles of that side would hold little but overlaps.
    """
    least = least_side(overlap, multiple_of)
    if side < least:
        raise InputError(f"--tile {side}: too small for this network, {least} px at least")
    side = side // multiple_of * multiple_of
    tile = min(side, height), min(side, width)
    return Grid(
        height, width, tile, overlap, _starts(height, tile[0], overlap), _starts(width, tile[1], overlap)
    )


def fit(height: int, width: int, multiple_of: int, overlap: int, bytes_per_px: float, free: int) -> Grid:
    """The whole picture where half of the free memory takes it, else the largest tiles that it takes."""
    room_px = free / 2 / max(1.0, bytes_per_px * OVERHEAD)
    if height * width <= room_px:
        return whole(height, width)
    least = least_side(overlap, multiple_of)
    fitting = [side for side in SIZES if side**2 <= room_px and least <= side < max(height, width)]
    return cut(height, width, fitting[0] if fitting else max(least, SIZES[-1]), multiple_of, overlap)


def by_tiles(correct: Callable[[Tensor], Tensor], rgb: Tensor, grid: Grid) -> Tensor:
    """`correct` applied to a picture (1, 3, height, width) tile by tile, blended."""
    if grid.is_whole:
        return correct(rgb)
    height, width = grid.tile
    down = [weights.to(rgb.device) for weights in windows(grid.height, height, grid.overlap, grid.rows)]
    across = [weights.to(rgb.device) for weights in windows(grid.width, width, grid.overlap, grid.columns)]
    total = torch.zeros_like(rgb)
    placed = product(zip(grid.rows, down, strict=True), zip(grid.columns, across, strict=True))
    for (top, row), (left, column) in placed:
        place = (..., slice(top, top + height), slice(left, left + width))
        tile = rgb[place].contiguous(memory_format=torch.channels_last)
        total[place] += correct(tile) * row[:, None] * column
    return total


def windows(size: int, tile: int, overlap: int, starts: tuple[int, ...]) -> list[Tensor]:
    """The weights of each tile along one axis; over every pixel they sum to one."""
    distance = torch.arange(tile, dtype=torch.float64) + 0.5
    flat = torch.ones_like(distance)
    ramp = overlap * (1 - 2 * MARGIN)
    rising = ((distance - overlap * MARGIN) / ramp).clamp(0.0, 1.0) if overlap else flat
    raw = [
        torch.minimum(rising if start > 0 else flat, rising.flip(0) if start + tile < size else flat)
        for start in starts
    ]
    total = torch.zeros(size, dtype=torch.float64)
    for start, weights in zip(starts, raw, strict=True):
        total[start : start + tile] += weights
    return [
        (weights / total[start : start + tile]).to(torch.float32)
        for start, weights in zip(starts, raw, strict=True)
    ]


def bytes_per_px(network: DeblurNetwork, device: torch.device) -> float:
    """Peak of the network's float32 tensors for each pixel of its input, measured on a small picture."""
    side = _up(64, network.multiple_of)
    picture = torch.full((1, 3, side, side), 0.5, device=device)
    watch = _Watch()
    with torch.inference_mode(), watch:
        network.correction(picture)
    return watch.peak / (side * side)


def _up(size: int, multiple_of: int) -> int:
    return -(-size // multiple_of) * multiple_of


def _starts(size: int, tile: int, overlap: int) -> tuple[int, ...]:
    if tile >= size:
        return (0,)
    return (*range(0, size - tile, tile - overlap), size - tile)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors made inside that are alive, and keeps the peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        self.peak = max(self.peak, self._now)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self._now += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size
