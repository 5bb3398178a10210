"""Overlapped tiles of one static size, the last of a row moved inwards, blended into one difference.

Sides and starts are multiples of the network's `multiple_of`, so that a tile sees the same grid as the
whole picture does. The weights of all tiles over a pixel sum to one; near a border of a tile that lies
inside the picture, where the network saw zeros instead of the neighbourhood, they are zero. Where that
strip is as wide as the network's reach, tiles give the whole picture's result; `overlap_for` says what is
used instead and how good it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vdeblur.errors import InputError

Weights = np.ndarray[Any, np.dtype[np.float32]]

MARGIN = 3 / 8
"""Share of an overlap, at a tile's border, that weighs nothing; tiles change over in the middle quarter."""
LEAST_OVERLAP = 96
SHARE = 0.8
"""Of the network's reach, that neighbours share."""
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
    """Pixels that neighbours share: enough to be exact for a short reach, else `SHARE` of it.

    Measured with the networks of the package (reach 259 px, so 208 px) on real pictures: at most 0.71 of 255
    from the whole picture's result (`docs/engine.md`).
    """
    exact = math.ceil(reach / MARGIN)
    wanted = min(exact, max(LEAST_OVERLAP, math.ceil(reach * SHARE)))
    return -(-wanted // multiple_of) * multiple_of


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


def fit(
    height: int,
    width: int,
    multiple_of: int,
    overlap: int,
    bytes_per_px: float,
    free: int,
    bytes_around: float = 0.0,
) -> Grid:
    """The whole picture where half of the free memory takes it, else the largest tiles that it takes.

    Each pixel of a picture that is cut takes `bytes_around` beside its tiles: where that is more than the
    whole picture takes, cutting is of no use.
    """
    each, around = max(1.0, bytes_per_px * OVERHEAD), height * width * bytes_around
    if height * width * each <= free / 2:
        return whole(height, width)
    room_px = (free / 2 - around) / each
    least = least_side(overlap, multiple_of)
    fitting = [side for side in SIZES if side**2 <= room_px and least <= side < max(height, width)]
    found = cut(height, width, fitting[0] if fitting else max(least, SIZES[-1]), multiple_of, overlap)
    tile_px = found.tile[0] * found.tile[1]
    return whole(height, width) if around + tile_px * each > height * width * each else found


def smaller(grid: Grid, multiple_of: int, overlap: int) -> Grid | None:
    """The same picture in the next smaller tiles, or None where overlaps would be most of them."""
    least = least_side(overlap, multiple_of)
    fitting = [side for side in SIZES if least <= side < max(grid.tile)]
    return cut(grid.height, grid.width, fitting[0], multiple_of, overlap) if fitting else None


def pieces(grid: Grid) -> Iterator[tuple[int, int, Weights]]:
    """Every tile: its top row, its left column, and what its pixels weigh (tile height x tile width)."""
    height, width = grid.tile
    down = windows(grid.height, height, grid.overlap, grid.rows)
    across = windows(grid.width, width, grid.overlap, grid.columns)
    for top, row in zip(grid.rows, down, strict=True):
        for left, column in zip(grid.columns, across, strict=True):
            yield top, left, row[:, None] * column


def windows(size: int, tile: int, overlap: int, starts: tuple[int, ...]) -> list[Weights]:
    """The weights of each tile along one axis; over every pixel they sum to one."""
    distance = np.arange(tile) + 0.5
    flat = np.ones(tile)
    ramp = overlap * (1 - 2 * MARGIN)
    rising = np.clip((distance - overlap * MARGIN) / ramp, 0.0, 1.0) if overlap else flat
    raw = [
        np.minimum(rising if start > 0 else flat, rising[::-1] if start + tile < size else flat)
        for start in starts
    ]
    total = np.zeros(size)
    for start, weights in zip(starts, raw, strict=True):
        total[start : start + tile] += weights
    return [
        (weights / total[start : start + tile]).astype(np.float32)
        for start, weights in zip(starts, raw, strict=True)
    ]


def _starts(size: int, tile: int, overlap: int) -> tuple[int, ...]:
    if tile >= size:
        return (0,)
    return (*range(0, size - tile, tile - overlap), size - tile)
