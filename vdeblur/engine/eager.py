"""Plain torch on any device: the path that all others are compared with.

A frame goes in as planes, one at a time: padded to whole units by repeating the edge, turned into RGB, corrected by the
network, and the difference is added to the original planes. The arithmetic around the network is float32 on the
device, whatever the network's precision. Buffers are made once for a layout; nothing grows with the frames.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from vdeblur.engine import guard, planes, tiles
from vdeblur.engine.device import Choice
from vdeblur.frame import Component, Fate, Frame, Plane, PlaneLayout
from vdeblur.models.contract import DeblurNetwork


class Corrector:
    """A network on its device: RGB in, difference out, in the chosen precision or carefully in float32.

    Pictures are (1, 3, rows, columns) float32 in [0, 1] on the device, sides multiples of `multiple_of`.
    """

    def __init__(self, network: DeblurNetwork, choice: Choice) -> None:
        self.choice = choice
        self.device = torch.device(choice.device)
        self.multiple_of = network.multiple_of
        self.reach = network.reach
        self._full = network.eval().to(self.device, memory_format=torch.channels_last)
        self._fast = self._full
        if choice.precision == "fp16":
            self._fast = copy.deepcopy(self._full).half()

    @torch.inference_mode()
    def __call__(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The network's difference, float32."""
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        return tiles.by_tiles(self._correct, rgb, grid)

    @torch.inference_mode()
    def careful(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The same in float32 throughout."""
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        return tiles.by_tiles(self._full.correction, rgb, grid)

    def judged(self, rgb: Tensor, grid: tiles.Grid, height: int, width: int) -> tuple[Tensor | None, Fate]:
        """The difference at the picture's own size and what the guard made of it; None: refused."""
        difference = self(rgb, grid)[..., :height, :width]
        if guard.is_sound(difference):
            return difference, Fate.DEBLURRED
        if self.choice.precision != "fp32":
            difference = self.careful(rgb, grid)[..., :height, :width]
            if guard.is_sound(difference):
                return difference, Fate.REDONE
        return None, Fate.REFUSED

    def _correct(self, rgb: Tensor) -> Tensor:
        if self.choice.precision == "bf16":
            # Only products are bfloat16; rounding the input too would cost four times the error.
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return self._fast.correction(rgb).float()
        if self.choice.precision == "fp16":
            return self._fast.correction(rgb.half()).float()
        return self._fast.correction(rgb)


class EagerLane:
    """A corrector opened for one layout; `deblur` gives every frame back in order."""

    def __init__(self, corrector: Corrector, layout: PlaneLayout, grid: tiles.Grid, strength: float) -> None:
        self.layout = layout
        self.grid = grid
        self._corrector = corrector
        self._strength = strength
        self._staging = Staging(layout, corrector.multiple_of, pinned=corrector.device.type == "cuda")
        self._rgb = torch.empty((1, 3, *self._staging.size), device=corrector.device)

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout, each with the difference added and its fate; planes are new arrays."""
        for frame in frames:
            yield self._one(frame)

    @torch.inference_mode()
    def _one(self, frame: Frame) -> Frame:
        height, width = self.layout.height, self.layout.width
        with calm_threads():
            words = [part.to(self._corrector.device, non_blocking=True) for part in self._staging.load(frame)]
            rgb = planes.to_rgb(words, self.layout, out=self._rgb)
        difference, fate = self._corrector.judged(rgb, self.grid, height, width)
        if difference is None:
            return dataclasses.replace(frame, fate=fate)
        with calm_threads():
            own = [
                part[:, :rows, :columns]
                for part, (rows, columns) in zip(words, self._staging.sizes, strict=True)
            ]
            changed = planes.add_difference(own, difference, self.layout, self._strength)
            return dataclasses.replace(frame, planes=self._staging.store(frame, changed), fate=fate)


class Staging:
    """Host buffers for the planes of a layout, padded; the only place where numpy planes become tensors."""

    def __init__(self, layout: PlaneLayout, multiple_of: int, pinned: bool = False) -> None:
        across, down = layout.subsampling
        self.layout = layout
        self.size = padded(
            layout.height, layout.width, math.lcm(multiple_of, down), math.lcm(multiple_of, across)
        )
        chroma = self.size[0] // down, self.size[1] // across
        luma_like = [layout.kind != "yuv" or i == 0 for i in range(len(layout.components))]
        self.sizes = [(layout.height, layout.width) if luma else layout.chroma_size for luma in luma_like]
        dtype = torch.uint8 if layout.depth + layout.lsb <= 8 else torch.int16
        self._parts = [
            torch.zeros((1, *(self.size if luma else chroma)), dtype=dtype, pin_memory=pinned)
            for luma in luma_like
        ]

    def load(self, frame: Frame) -> list[Tensor]:
        """The frame's colour components (1, rows, columns), padded by their last row and column; valid till the next."""
        for part, component, (rows, columns) in zip(
            self._parts, self.layout.components, self.sizes, strict=True
        ):
            buffer, source = part[0].numpy(), _component(frame.planes, component)
            buffer[:rows, :columns] = source.view(np.int16) if buffer.dtype == np.int16 else source
            buffer[:rows, columns:] = buffer[:rows, columns - 1 : columns]
            buffer[rows:] = buffer[rows - 1]
        return self._parts

    def store(self, frame: Frame, changed: list[Tensor]) -> tuple[Plane, ...]:
        """The frame's planes with these components; planes without any (alpha) are the frame's own."""
        touched = {component.plane for component in self.layout.components}
        packed = {component.plane for component in self.layout.components if component.index is not None}
        result = [
            plane.copy()
            if number in packed
            else np.empty(plane.shape, plane.dtype)
            if number in touched
            else plane
            for number, plane in enumerate(frame.planes)
        ]
        for component, words in zip(self.layout.components, changed, strict=True):
            found = words[0].cpu().numpy()
            _component(tuple(result), component)[...] = (
                found.view(np.uint16) if found.dtype == np.int16 else found
            )
        return tuple(result)


def padded(height: int, width: int, rows_of: int, columns_of: int) -> tuple[int, int]:
    """The next size of whole units."""
    return -(-height // rows_of) * rows_of, -(-width // columns_of) * columns_of


@contextmanager
def calm_threads() -> Iterator[None]:
    """One thread for small operations: with several, each waits for a core that another process may hold."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def _component(planes_: tuple[Plane, ...], component: Component) -> Plane:
    plane = planes_[component.plane]
    return plane if component.index is None else plane[..., component.index]
