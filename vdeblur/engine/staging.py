"""Colour components between frames in numpy and tensors of torch, padded to whole units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vdeblur.engine import planes
from vdeblur.engine.lane import Pixels, component_sizes, load_component, padded, with_components
from vdeblur.frame import Frame, Plane, PlaneLayout


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
        for part, component, size in zip(self.parts, self.layout.components, self.sizes, strict=True):
            load_component(part[place].numpy(), frame, component, size)
        return self.parts

    def store(self, frame: Frame, changed: list[Tensor], place: int = 0) -> tuple[Plane, ...]:
        """The frame's planes with these components in them; what is no component (alpha) stays."""
        words = (part[place].cpu().numpy() for part in changed)
        return with_components(frame, self.layout.components, words)


def rgb_of(frame: Frame) -> Pixels:
    """What the network sees of a frame: height x width x 3, float32, 0 to 1."""
    layout = frame.layout
    picture = planes.to_rgb(Staging(layout, 1).load(frame), layout)[0, :, : layout.height, : layout.width]
    return picture.permute(1, 2, 0).contiguous().numpy()
