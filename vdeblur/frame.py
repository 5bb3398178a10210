"""The values that travel: how a picture's planes lie in memory, and one frame of them.

Everything that moves pictures speaks these two types; they know neither av nor torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal

import numpy as np

Kind = Literal["yuv", "gray", "rgb"]
Range = Literal["limited", "full"]
Plane = np.ndarray[Any, np.dtype[Any]]


class Fate(StrEnum):
    """What became of a frame; counted by the ledger."""

    SOURCE = "source"  # not yet seen by the engine
    DEBLURRED = "deblurred"
    REDONE = "redone in float32"  # the fast result was refused by the guard, the float32 one was good
    REFUSED = "passed (refused by the guard)"  # no good result: the source frame goes on, bit-identical
    PASSED = "passed"  # not sent through the network (strength 0)
    SHARP = "passed (sharp already)"  # not sent through the network either: nothing to win (`--skip-sharp`)


@dataclass(frozen=True, slots=True)
class Component:
    """Where a component lies: plane number, and position in the last axis of a packed plane (else None)."""

    plane: int
    index: int | None = None


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """How the planes of a picture are to be read; hashable, the key for graphs, tiles and caches.

    name         FFmpeg's pixel format, e.g. "yuv420p10le"
    width        luma columns in pixels
    height       luma rows in pixels
    kind         "yuv" (Y, Cb, Cr), "gray" (Y) or "rgb" (R, G, B): the order of `components`
    depth        bits of a sample that count (8, 10, 12, 16)
    lsb          left shift of those bits in the stored word (6 for p010, else 0)
    subsampling  (horizontal, vertical) luma pixels for each chroma sample: (2, 2) is 4:2:0
    components   colour components in the order of `kind`; alpha is not among them
    alpha        the alpha component, or None; never touched by the engine
    range        "limited" (ITU-R: 16..235 of 8 bit) or "full"
    matrix       key of colour.MATRICES ("bt709", ...); "rgb" where kind is "rgb" or "gray"
    """

    name: str
    width: int
    height: int
    kind: Kind
    depth: int
    subsampling: tuple[int, int]
    components: tuple[Component, ...]
    range: Range
    matrix: str
    lsb: int = 0
    alpha: Component | None = None

    @property
    def chroma_size(self) -> tuple[int, int]:
        """(height, width) of a chroma plane: rounded up, as FFmpeg lays them out."""
        across, down = self.subsampling
        return -(-self.height // down), -(-self.width // across)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its time.

    planes     numpy views without row padding, uint8 or uint16: (rows, columns), or
               (rows, columns, n) for packed and semi-planar planes; read-only by agreement
    layout     how to read them
    pts        integer presentation time in units of time_base
    time_base  seconds for each unit
    duration   integer, same units; 0 where nothing is known
    index      0, 1, 2, ... in order of presentation
    side       whatever came with the frame (the decoded picture of the video room); passed on unread
    fate       what the engine did
    """

    planes: tuple[Plane, ...]
    layout: PlaneLayout
    pts: int
    time_base: Fraction
    duration: int
    index: int
    side: Any = None
    fate: Fate = Fate.SOURCE

    def __post_init__(self) -> None:
        rows, columns = self.planes[0].shape[:2]
        if (rows, columns) != (self.layout.height, self.layout.width):
            raise ValueError(
                f"frame {self.index}: first plane is {columns}x{rows}, "
                f"its layout says {self.layout.width}x{self.layout.height}"
            )

    @property
    def time_s(self) -> float:
        """Presentation time in seconds (for messages; arithmetic stays in integers)."""
        return float(self.pts * self.time_base)
