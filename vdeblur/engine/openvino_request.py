"""One frame in flight through OpenVINO: through the whole model, or where it is cut through three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vdeblur.engine import tiles
from vdeblur.engine.lane import Pixels, component_sizes, load_component, with_components
from vdeblur.engine.openvino_words import word_type
from vdeblur.frame import Frame, Plane, PlaneLayout

if TYPE_CHECKING:
    from vdeblur.engine.openvino import OpenVinoBackend


class Request:
    """One frame in flight through the whole model: its request and the memory it reads."""

    def __init__(self, compiled: ov.CompiledModel, layout: PlaneLayout) -> None:
        self.staging = Staging(layout, [tuple(port.shape)[2:] for port in compiled.inputs])
        self._request = compiled.create_infer_request()
        for number, part in enumerate(self.staging.parts):
            self._request.set_input_tensor(number, ov.Tensor(part, shared_memory=True))
        self._outputs = len(compiled.outputs)

    def start(self, frame: Frame) -> None:
        self.staging.load(frame)
        self._request.start_async()

    def wait(self) -> list[Any]:
        """Changed components, and the guard's figures; they hold until the next `start`."""
        self._request.wait()
        return [self._request.get_output_tensor(number).data for number in range(self._outputs)]


class Pieces:
    """The same by three models one after the other, the middle one for each tile."""

    def __init__(
        self,
        backend: OpenVinoBackend,
        layout: PlaneLayout,
        grid: tiles.Grid,
        strength: float,
        *,
        careful: bool = False,
    ) -> None:
        self.front, self.back = backend.compiled_ends(layout, grid, strength)
        self.staging = Staging(layout, [tuple(port.shape)[2:] for port in self.front.inputs])
        self.words = self.staging.parts
        self._body = backend.compiled_body(grid.tile, careful=careful)
        self._grid = grid
        self._result: list[Any] = []

    def start(self, frame: Frame) -> None:
        self.staging.load(frame)
        self.rgb = self.front(self.words, share_outputs=True)[0]
        self.difference = self.network(self.rgb)
        found = self.back([*self.words, self.difference], share_outputs=True)
        self._result = [found[number] for number in range(len(self.back.outputs))]

    def network(self, rgb: Pixels) -> Pixels:
        return by_tiles(self._body, rgb, self._grid)

    def wait(self) -> list[Any]:
        return self._result


class Staging:
    """Arrays for the colour components of a layout, padded to whole units; between frames and models.

    parts   (1, 1, rows, columns) of uint8 or uint16, one for each component
    """

    def __init__(self, layout: PlaneLayout, padded_sizes: Sequence[tuple[int, int]]) -> None:
        self._components = layout.components
        self._own = component_sizes(layout)
        dtype = word_type(layout)
        self.parts = [np.zeros((1, 1, *size), dtype) for size in padded_sizes]

    def load(self, frame: Frame) -> None:
        """Copy a frame's components in, edges repeated."""
        for part, component, size in zip(self.parts, self._components, self._own, strict=True):
            load_component(part[0, 0], frame, component, size)

    def store(self, frame: Frame, changed: Sequence[Any]) -> tuple[Plane, ...]:
        """The frame's planes, new, with these components in them; what is no component (alpha) stays."""
        return with_components(frame, self._components, (words[0, 0] for words in changed))


def by_tiles(network: ov.CompiledModel, rgb: Pixels, grid: tiles.Grid) -> Pixels:
    """The network's difference for a picture (1, 3, height, width), tile by tile, blended."""
    if grid.is_whole:
        found: Pixels = network(rgb)[0]
        return found
    height, width = grid.tile
    total = np.zeros_like(rgb)
    for top, left, weights in tiles.pieces(grid):
        place = (..., slice(top, top + height), slice(left, left + width))
        total[place] += network(np.ascontiguousarray(rgb[place]))[0] * weights
    return total
