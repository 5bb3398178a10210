"""Plain torch on any device: the path that all others are compared with.

A frame goes in as planes: padded to whole units by repeating its edge, turned into RGB, corrected by the
network, and the difference is added to the original planes. The arithmetic around the network is float32
on the device, whatever the network's precision. Buffers are made once for a layout and used by one frame
at a time; nothing grows with the frames.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from vdeblur.engine import footprint, guard, planes, shortage, tiles
from vdeblur.engine.device import Choice, cpu_threads
from vdeblur.engine.lane import Lane, Pixels, Step, component_sizes, padded
from vdeblur.errors import VdeblurError
from vdeblur.frame import Component, Fate, Frame, Plane, PlaneLayout
from vdeblur.models.contract import DeblurNetwork

TRIAL_PX = 256
"""Side of the picture of the warm-up laps: cost is proportional to pixels."""
TRIAL_PX_CUDA = 1024
"""On a GPU: a small one says how long it takes to ask, not to compute."""
WARM_UP_S = 4.0
"""After so long no further lap is begun."""
DEVIATION = 0.1
"""Greatest rms between a fast path and float32, as a share of the correction; bfloat16 has 0.02 to 0.04."""


class Corrector:
    """A network on its device: RGB in, difference out.

    Pictures are (1, 3, rows, columns) float32 in [0, 1] on the device, sides multiples of `multiple_of`.
    The network runs on all threads, everything around it on one (`calm`). Before the first picture
    `warm_up` must have been called.
    """

    def __init__(self, network: DeblurNetwork, choice: Choice) -> None:
        self.choice = choice
        self.notes: list[str] = []
        self.device = torch.device(choice.device)
        self.multiple_of, self.reach = network.multiple_of, network.reach
        self.bytes_around = 0.0  # a few pictures: little beside the network
        network.eval().to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.network = network
        self._half = copy.deepcopy(network).half() if choice.precision == "fp16" else None
        self._threads = cpu_threads()

    @property
    def threads(self) -> int | None:
        return self._threads if self.choice.kind == "cpu" else None

    def open_lane(
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float, *, latency: bool = False
    ) -> Lane:
        if self.choice.backend == "cuda":
            from vdeblur.engine.cuda import CudaLane

            return CudaLane(self, layout, grid, strength, latency=latency)
        return EagerLane(self, layout, grid, strength)

    def bytes_per_px(self) -> float:
        needed = footprint.bytes_per_px(self.network, self.device)
        return needed * (1.0 if self.choice.precision == "fp32" else 0.7)

    def smaller(self, grid: tiles.Grid) -> tiles.Grid:
        """`cut`, with a note."""
        smaller = self.cut(grid)
        self.notes.append(shortage.note(smaller))
        return smaller

    def cut(self, grid: tiles.Grid) -> tiles.Grid:
        """After memory ran out: the next smaller tiles; VdeblurError where there are none."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return shortage.smaller(grid, self.multiple_of, self.reach, self.choice.name)

    def warm_up(self) -> float:
        """A few laps on a small picture; answers with the seconds for a pixel in the fastest one.

        The chosen precision is compared with float32 there, and not used if it deviates too far.  Where
        memory runs out at once, a smaller picture is tried; VdeblurError if that is of no use.
        """
        first_px = TRIAL_PX_CUDA if self.device.type == "cuda" else TRIAL_PX
        for trial_px in (first_px, first_px // 2, first_px // 4):
            try:
                return self._laps(trial_px)
            except Exception as error:
                if not shortage.ran_out(error):
                    raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        raise VdeblurError(
            f"out of memory on {self.choice.name} before the first picture: use a smaller network (--model) "
            "or close other programs"
        )

    def _laps(self, trial_px: int) -> float:
        side = -(-trial_px // self.multiple_of) * self.multiple_of
        trial = trial_picture(side).to(self.device)
        grid = tiles.whole(side, side)
        laps: list[float] = []
        while len(laps) < 3 and sum(laps) < WARM_UP_S:  # the first lap makes what later ones reuse
            begin = time.perf_counter()
            fast = self.fast(trial, grid).cpu()
            laps.append(time.perf_counter() - begin)
        seconds = min(laps)
        if self.choice.precision == "fp32":
            return seconds / side**2
        careful = self.careful(trial, grid).cpu()
        deviation, size = (
            float((fast - careful).square().mean().sqrt()),
            float(careful.square().mean().sqrt()),
        )
        if not math.isfinite(size) or deviation <= max(DEVIATION * size, 0.2 / 255):
            return seconds / side**2
        self.notes.append(
            f"{self.choice.precision} deviates by {deviation / max(size, 1e-9):.0%} of the correction "
            "with this network: running in float32"
        )
        self.use_float32()
        return self._laps(trial_px)

    def use_float32(self) -> None:
        """From here on: nothing faster holds."""
        self.choice = dataclasses.replace(self.choice, precision="fp32")
        self._half = None

    def fast(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The network's difference in the chosen precision, as float32."""
        with torch.inference_mode(), calm():
            return by_tiles(self._in_precision, rgb, grid)

    def careful(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The network's difference, float32 throughout."""
        with torch.inference_mode(), calm():
            return by_tiles(lambda tile: self._run(self.network, tile), rgb, grid)

    def difference(self, rgb: Pixels, grid: tiles.Grid, height: int, width: int) -> Pixels | None:
        tensor = torch.from_numpy(rgb.transpose(2, 0, 1)[None]).to(self.device)
        found, _ = self.judged(tensor, grid, height, width)
        return None if found is None else found[0].permute(1, 2, 0).cpu().numpy()

    def judged(self, rgb: Tensor, grid: tiles.Grid, height: int, width: int) -> tuple[Tensor | None, Fate]:
        """The difference at the picture's own size, and what the guard made of it (None: refused)."""
        difference = self.fast(rgb, grid)[..., :height, :width]
        if guard.is_sound(difference):
            return difference, Fate.DEBLURRED
        if self.choice.precision != "fp32":
            difference = self.careful(rgb, grid)[..., :height, :width]
            if guard.is_sound(difference):
                return difference, Fate.REDONE
        return None, Fate.REFUSED

    def _in_precision(self, rgb: Tensor) -> Tensor:
        if self._half is not None:
            return self._run(self._half, rgb.half())
        if self.choice.precision == "bf16":
            # Only products are bfloat16; rounding the input too would cost four times the error.
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return self._run(self.network, rgb)
        return self._run(self.network, rgb)

    def _run(self, network: DeblurNetwork, rgb: Tensor) -> Tensor:
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        # float32 means float32: a GPU would else round the factors of its convolutions to 11 bits (TF32).
        with calm(self._threads), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            difference = network.correction(rgb)
        return difference.to(torch.float32, memory_format=torch.contiguous_format)


class EagerLane:
    """A corrector opened for one layout; `deblur` gives every frame back, in order."""

    def __init__(self, corrector: Corrector, layout: PlaneLayout, grid: tiles.Grid, strength: float) -> None:
        self.layout = layout
        self.grid = grid
        self._corrector = corrector
        self._strength = strength
        self._staging = Staging(layout, corrector.multiple_of)
        size = (1, 3, grid.height, grid.width)
        self._rgb = torch.empty(size, device=corrector.device, memory_format=torch.channels_last)

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout with the difference added, in new arrays, and their fate."""
        for frame in frames:
            yield self._one(frame)

    def steps(self, frame: Frame) -> dict[str, Step]:
        """See `lane.Stepped`."""
        corrector, staging, height, width = (
            self._corrector,
            self._staging,
            self.layout.height,
            self.layout.width,
        )

        def upload() -> list[Tensor]:
            return [part.to(corrector.device, non_blocking=True) for part in staging.load(frame)]

        with torch.inference_mode(), calm():
            words = upload()
            own = [part[:, :r, :c] for part, (r, c) in zip(words, staging.sizes, strict=True)]
            rgb = planes.to_rgb(words, self.layout, out=self._rgb)
            difference = corrector.fast(rgb, self.grid)[..., :height, :width]
            changed = planes.add_difference(own, difference, self.layout, self._strength)

        def residual() -> list[Tensor]:
            guard.is_sound(difference)
            return planes.add_difference(own, difference, self.layout, self._strength)

        def calmly(work: Callable[[], object]) -> Callable[[], object]:
            def start() -> object:
                with torch.inference_mode(), calm():
                    return work()

            return start

        work: dict[str, Callable[[], object]] = {
            "upload": upload,
            "planes to RGB": lambda: planes.to_rgb(words, self.layout, out=self._rgb),
            "network": lambda: corrector.fast(rgb, self.grid),
            "residual": residual,
            "download": lambda: staging.store(frame, changed),
        }
        return {name: Step(calmly(each)) for name, each in work.items()}

    def close(self) -> None:
        """Nothing is in flight; the buffers go with the lane."""

    def _one(self, frame: Frame) -> Frame:
        """The frame done, in smaller tiles from here on where memory runs out."""
        while True:
            try:
                return self._attempt(frame)
            except Exception as error:
                if not shortage.ran_out(error):
                    raise
            self.grid = self._corrector.smaller(self.grid)

    def _attempt(self, frame: Frame) -> Frame:
        with torch.inference_mode(), calm():
            loaded = self._staging.load(frame)
            words = [part.to(self._corrector.device) for part in loaded]
            rgb = planes.to_rgb(words, self.layout, out=self._rgb)
            size = self.layout.height, self.layout.width
            difference, fate = self._corrector.judged(rgb, self.grid, *size)
            if difference is None:
                return dataclasses.replace(frame, fate=fate)
            own = [
                part[:, :rows, :columns]
                for part, (rows, columns) in zip(words, self._staging.sizes, strict=True)
            ]
            changed = planes.add_difference(own, difference, self.layout, self._strength)
            return dataclasses.replace(frame, planes=self._staging.store(frame, changed), fate=fate)


def zeros(size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Ordinary memory of the host."""
    return torch.zeros(size, dtype=dtype)


class Staging:
    """Host buffers for the colour components of frames of a layout, padded; between numpy and torch.

    parts   the buffers, one for each component: (count, rows, columns)
    size    (rows, columns) of the padded picture
    sizes   (rows, columns) of each component as it is in a frame
    """

    def __init__(
        self,
        layout: PlaneLayout,
        multiple_of: int,
        count: int = 1,
        zeros: Callable[[tuple[int, ...], torch.dtype], Tensor] = zeros,
    ) -> None:
        self.layout = layout
        self.size = padded(layout, multiple_of)
        across, down = layout.subsampling
        chroma = self.size[0] // down, self.size[1] // across
        self.sizes = component_sizes(layout)
        is_luma = [layout.kind != "yuv" or i == 0 for i in range(len(layout.components))]
        dtype = torch.uint8 if layout.depth + layout.lsb <= 8 else torch.int16
        self.parts = [zeros((count, *(self.size if luma else chroma)), dtype) for luma in is_luma]

    def load(self, frame: Frame, place: int = 0) -> list[Tensor]:
        """The frame's components (count, rows, columns), edges repeated; they hold until the next `load`."""
        for part, component, (rows, columns) in zip(
            self.parts, self.layout.components, self.sizes, strict=True
        ):
            buffer = part[place].numpy()
            source = _component(frame.planes, component)
            buffer[:rows, :columns] = source if buffer.dtype == np.uint8 else source.view(np.int16)
            buffer[:rows, columns:] = buffer[:rows, columns - 1 : columns]
            buffer[rows:] = buffer[rows - 1]
        return self.parts

    def store(self, frame: Frame, changed: list[Tensor], place: int = 0) -> tuple[Plane, ...]:
        """The frame's planes with these components in them; what is no component (alpha) stays."""
        touched = {component.plane for component in self.layout.components}
        result: list[Plane] = []
        for number, plane in enumerate(frame.planes):
            if number not in touched:
                result.append(plane)
            elif plane.ndim == 3:
                result.append(plane.copy())
            else:
                result.append(np.empty(plane.shape, plane.dtype))
        for component, words in zip(self.layout.components, changed, strict=True):
            target = _component(tuple(result), component)
            target[...] = words[place].cpu().numpy().view(target.dtype)
        return tuple(result)


def trial_picture(side: int) -> Tensor:
    """Coloured squares with blurred edges (1, 3, side, side): something that asks for a correction."""
    cells = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    squares = torch.nn.functional.interpolate(cells, size=(side, side), mode="nearest")
    return torch.nn.functional.avg_pool2d(squares, (1, 9), stride=1, padding=(0, 4), count_include_pad=False)


Piece = tuple[int, int, Tensor]


def pieces_on(grid: tiles.Grid, device: torch.device) -> Iterator[Piece]:
    """`tiles.pieces`, the weights as tensors on a device."""
    for top, left, weights in tiles.pieces(grid):
        yield top, left, torch.from_numpy(weights).to(device)


def by_tiles(
    correct: Callable[[Tensor], Tensor],
    rgb: Tensor,
    grid: tiles.Grid,
    pieces: Iterable[Piece] | None = None,
) -> Tensor:
    """`correct` applied to a picture (N, 3, height, width) tile by tile, blended; `pieces` where kept."""
    if grid.is_whole:
        return correct(rgb)
    height, width = grid.tile
    total = torch.zeros_like(rgb)
    for top, left, weights in pieces_on(grid, rgb.device) if pieces is None else pieces:
        place = (..., slice(top, top + height), slice(left, left + width))
        tile = rgb[place].contiguous(memory_format=torch.channels_last)
        total[place] += correct(tile) * weights
    return total


@contextmanager
def calm(threads: int = 1) -> Iterator[None]:
    """So many threads for torch's operations inside; one by default, for small operations.

    With several, a small operation waits for a core that another process holds: 8 to 90 ms each.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _component(planes_: tuple[Plane, ...], component: Component) -> Plane:
    plane = planes_[component.plane]
    return plane if component.index is None else plane[..., component.index]
