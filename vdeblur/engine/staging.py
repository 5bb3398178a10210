"""Colour components between frames in numpy and tensors of torch, padded to whole units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vdeblur.engine.lane import component_of, component_sizes, padded
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
        for part, component, (rows, columns) in zip(
            self.parts, self.layout.components, self.sizes, strict=True
        ):
            buffer = part[place].numpy()
            source = component_of(frame.planes, component)
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
            target = component_of(tuple(result), component)
            target[...] = words[place].cpu().numpy().view(target.dtype)
        return tuple(result)
