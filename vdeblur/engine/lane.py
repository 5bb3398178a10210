"""What every backend promises: the one seam between `Deblurrer` and eager torch, CUDA and OpenVINO.

A backend is one network on one device, computed one way; it opens a lane for each layout of planes.  Both
are found by their shape: no base class, no table.  Nothing here imports torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vdeblur.engine.device import Choice
from vdeblur.engine.tiles import Grid
from vdeblur.frame import Component, Frame, Plane, PlaneLayout

Pixels = np.ndarray[Any, np.dtype[Any]]

TRIAL_PX = 256
"""Side of the picture of the warm-up laps: cost is proportional to pixels."""
WARM_UP_S = 4.0
"""After so long no further lap is begun."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a frame's way, repeatable by itself: what `vdeblur bench` times.

    start    starts the work; what a device does by itself goes on after it returns
    frames   that one start works on
    stream   torch's stream of a CUDA device that the work is queued on; None: the current one
    """

    start: Callable[[], object]
    frames: int = 1
    stream: Any = None


class Lane(Protocol):
    """A backend opened for one layout: every buffer, graph and compiled program that its frames need.

    `deblur` gives every frame of this layout back, in order, with its `fate`, planes in new arrays (or the
    source's own where the frame passes).  It may read ahead as many frames as it holds in flight, and gives
    back the last of them when its source ends; opened with `latency` it reads none ahead.  What the guard
    refuses is done again in float32, else the source frame passes (`engine/guard.py`).  A lane is used from
    one thread, may be left in the middle of its source (the generator is closed then: nothing may stay in
    flight), and may be given another source after that.  `close` lets everything go; it may come twice.

    `steps` are those of a frame, to be timed one by one: "upload", "planes to RGB", "network", "residual"
    (guard, difference onto planes), "download".  Nothing else may run on the lane meanwhile, and results go
    nowhere.

    `EagerLane` and `CudaLane` are made by `Corrector.open_lane` with (corrector, layout, grid, strength); the
    corrector has the network on its device, the choice, `notes` to add to, and float32 again (`careful`).
    """

    layout: PlaneLayout
    grid: Grid

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]: ...
    def steps(self, frame: Frame) -> Mapping[str, Step]: ...
    def close(self) -> None: ...


class Backend(Protocol):
    """A network ready to run.

    choice      what is really used; `warm_up` may change it (a precision that the network does not bear)
    notes       decisions that nobody asked for, one line each
    threads     processor threads the network runs on; None on a GPU
    bytes_around   memory for each pixel of a picture that is cut into tiles, beside that of a tile
    """

    choice: Choice
    multiple_of: int
    reach: int
    bytes_around: float

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def threads(self) -> int | None: ...

    def warm_up(self) -> float:
        """Seconds for a pixel, from a few laps on a small picture; called once, before all below."""
        ...

    def bytes_per_px(self) -> float:
        """Memory that the network needs for each pixel of its input, in the chosen precision."""
        ...

    def open_lane(self, layout: PlaneLayout, grid: Grid, strength: float, *, latency: bool) -> Lane: ...

    def smaller(self, grid: Grid) -> Grid:
        """After memory ran out: the next smaller tiles, with a note; VdeblurError where there are none."""
        ...

    def difference(self, rgb: Pixels, grid: Grid, height: int, width: int) -> Pixels | None:
        """For single pictures: rows x columns x 3, float32 in [0, 1], of whole units, to the judged
        difference at its own size (height x width x 3), or None where the guard refuses it.
        """
        ...


def quickest_s(lap: Callable[[], object]) -> float:
    """Seconds of the fastest of three laps, or of those there was time for; the first makes what later ones
    reuse.
    """
    laps: list[float] = []
    while len(laps) < 3 and sum(laps) < WARM_UP_S:
        begin = time.perf_counter()
        lap()
        laps.append(time.perf_counter() - begin)
    return min(laps)


def padded(layout: PlaneLayout, multiple_of: int) -> tuple[int, int]:
    """(rows, columns) of whole units of the network and of the chroma grid.

    Two of the network's at least: of one alone a network that halves pictures by a filter has too little.
    """
    across, down = layout.subsampling
    rows, columns = math.lcm(multiple_of, down), math.lcm(multiple_of, across)
    height, width = (max(side, multiple_of + 1) for side in (layout.height, layout.width))
    return -(-height // rows) * rows, -(-width // columns) * columns


def component_sizes(layout: PlaneLayout) -> list[tuple[int, int]]:
    """(rows, columns) of each colour component as it is in a frame."""
    is_luma = [layout.kind != "yuv" or i == 0 for i in range(len(layout.components))]
    return [(layout.height, layout.width) if luma else layout.chroma_size for luma in is_luma]


def component_of(planes: Sequence[Plane], component: Component) -> Plane:
    """The samples of a component: its plane, or a view of its part in a packed one."""
    plane = planes[component.plane]
    return plane if component.index is None else plane[..., component.index]


def load_component(part: Plane, frame: Frame, component: Component, size: tuple[int, int]) -> None:
    """A frame's component of this size into a padded array of its words, edges repeated."""
    rows, columns = size
    part[:rows, :columns] = component_of(frame.planes, component).view(part.dtype)
    part[:rows, columns:] = part[:rows, columns - 1 : columns]
    part[rows:] = part[rows - 1]


def with_components(
    frame: Frame, components: Sequence[Component], words: Iterable[Plane]
) -> tuple[Plane, ...]:
    """The frame's planes, new, with these words in them; what is no component (alpha) stays."""
    touched = {component.plane for component in components}
    planes = list(frame.planes)
    for number in touched:
        before = planes[number]
        planes[number] = before.copy() if before.ndim == 3 else np.empty(before.shape, before.dtype)
    for component, word in zip(components, words, strict=True):
        target = component_of(planes, component)
        target[...] = word.view(target.dtype)
    return tuple(planes)
