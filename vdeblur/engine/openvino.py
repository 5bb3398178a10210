"""Networks on CPUs by OpenVINO: one compiled model from planes to planes, several frames at a time; no torch.

For files (throughput) each of a few streams has threads of its own and computes one frame, so that a core
never waits for another; for live pictures (latency) all threads work on the one frame there is.  The model is
`openvino_graph.whole`; where a picture is cut into tiles it is three models, the middle one, the network,
for each tile.  Differences, sums and rounding are float32 in every precision: a test holds it.  Precision is
always said: left alone, OpenVINO takes bfloat16 where a processor has it.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from vdeblur.engine import guard, openvino_graph, shortage, tiles
from vdeblur.engine.device import Choice, cpu_threads, free_bytes, has_bfloat16
from vdeblur.engine.lane import Pixels, Step, component_sizes
from vdeblur.engine.openvino_body import body as float_body
from vdeblur.engine.openvino_words import word_type
from vdeblur.frame import Component, Fate, Frame, Plane, PlaneLayout
from vdeblur.weights.arrays import Weights
from vdeblur.weights.quantised import Quantised

if TYPE_CHECKING:
    from vdeblur.models.contract import DeblurNetwork

SIZE = {"fp32": 1.0, "bf16": 0.6, "int8": 0.6}
"""Memory of a precision, as a share of what float32 tensors would take."""
AROUND = 290.0
"""Bytes for each pixel of a picture that is cut: what stands before and behind the network is not (measured).
Whole pictures do without, as one model shares its memory: small networks take less so."""
STREAMS = 4
"""Frames computed at the same time, at most; each needs memory of its own."""
TRIAL_PX = 256
"""Side of the picture of the warm-up laps: cost is proportional to pixels."""
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Bodies:
    """What makes the models of one network; every call gives a new one, for they are taken apart.

    careful   float32
    fast      in the chosen precision
    """

    multiple_of: int
    reach: int
    careful: Callable[[], ov.Model]
    fast: Callable[[], ov.Model]


def bodies_of(weights: Weights, quantised: Quantised | None) -> Bodies:
    """The bodies of weights as they were loaded; with a graph in int8 it is the fast one."""
    architecture = weights.architecture

    def careful() -> ov.Model:
        return float_body(architecture, weights.arrays, ensemble=weights.ensemble)

    def int8() -> ov.Model:
        assert quantised is not None
        xml, constants = quantised.read()
        return _core().read_model(xml, ov.Tensor(np.frombuffer(constants, np.uint8)))

    fast = careful if quantised is None else int8
    return Bodies(architecture.multiple_of, architecture.reach, careful, fast)


def converted(network: DeblurNetwork) -> Bodies:
    """The body of a network in torch, traced: for networks that have no file of weights yet."""
    import torch

    class Correction(torch.nn.Module):
        def forward(self, rgb: torch.Tensor) -> torch.Tensor:
            return network.correction(rgb)

    def body() -> ov.Model:
        side = 8 * network.multiple_of
        with torch.inference_mode():
            return ov.convert_model(
                Correction().eval(), example_input=torch.zeros(1, 3, side, side), input=[1, 3, -1, -1]
            )

    return Bodies(network.multiple_of, network.reach, body, body)


class OpenVinoBackend:
    """A network on the processor; see `lane.Backend`."""

    def __init__(self, bodies: Bodies, choice: Choice) -> None:
        self.choice = choice
        self.notes: list[str] = []
        self.multiple_of, self.reach = bodies.multiple_of, bodies.reach
        self.bytes_around = AROUND
        self.threads: int | None = cpu_threads()
        self._bodies = bodies
        # For single pictures, fast and careful: the size each was compiled for, and what came of it.
        self._single: dict[bool, tuple[tuple[int, int], ov.CompiledModel]] = {}

    def warm_up(self) -> float:
        side = -(-TRIAL_PX // self.multiple_of) * self.multiple_of
        network = self.compiled_body((side, side))
        trial = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        laps: list[float] = []
        while len(laps) < 3 and sum(laps) < WARM_UP_S:  # the first lap makes what later ones reuse
            begin = time.perf_counter()
            network(trial)
            laps.append(time.perf_counter() - begin)
        return min(laps) / side**2

    def bytes_per_px(self) -> float:
        network = openvino_graph.network(self._bodies.careful(), TRIAL_PX, TRIAL_PX)
        return peak_bytes(network) / TRIAL_PX**2 * SIZE[self.choice.precision]

    def open_lane(
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float, *, latency: bool = False
    ) -> OpenVinoLane:
        return OpenVinoLane(self, layout, grid, strength, latency=latency)

    def smaller(self, grid: tiles.Grid) -> tiles.Grid:
        """After memory ran out: the next smaller tiles, with a note; VdeblurError where there are none."""
        smaller = shortage.smaller(grid, self.multiple_of, self.reach, self.choice.name)
        self._single.clear()
        self.went_short(shortage.note(smaller))
        return smaller

    def went_short(self, note: str) -> None:
        """Something could not be had: say what follows from it, and let go of what may have been left."""
        self.notes.append(note)
        _core.cache_clear()  # it keeps memory of what it could not compile

    def difference(self, rgb: Pixels, grid: tiles.Grid, height: int, width: int) -> Pixels | None:
        planar = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])
        for careful in (False, True) if self.choice.precision != "fp32" else (True,):
            if careful not in self._single or self._single[careful][0] != grid.tile:
                self._single.pop(careful, None)  # the old one goes before the new one comes
                self._single[careful] = grid.tile, self.compiled_body(grid.tile, careful=careful)
            found = by_tiles(self._single[careful][1], planar, grid)[0, :, :height, :width]
            if guard.within(guard.figures_of(found)):
                return found.transpose(1, 2, 0)
        return None

    def compiled_body(self, size: tuple[int, int], *, careful: bool = False) -> ov.CompiledModel:
        """The network alone, RGB to difference, all threads on one picture."""
        body = self._bodies.careful() if careful else self._bodies.fast()
        return self._compiled(
            openvino_graph.network(body, *size), "fp32" if careful else self.choice.precision
        )

    def compiled_frame(
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float, streams: int, *, careful: bool = False
    ) -> ov.CompiledModel:
        """Planes to planes in one model."""
        body = self._bodies.careful() if careful else self._bodies.fast()
        model = openvino_graph.whole(body, layout, grid.height, grid.width, strength)
        return self._compiled(model, "fp32" if careful else self.choice.precision, streams)

    def compiled_ends(
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float
    ) -> tuple[ov.CompiledModel, ov.CompiledModel]:
        """What stands before the network, and what stands behind it."""
        front = openvino_graph.front(layout, grid.height, grid.width)
        back = openvino_graph.back(layout, grid.height, grid.width, strength)
        return self._compiled(front, "fp32"), self._compiled(back, "fp32")

    def _compiled(self, model: ov.Model, precision: str, streams: int = 1) -> ov.CompiledModel:
        # What a graph in int8 does not quantise runs in bfloat16 where the processor has it.
        low = precision == "bf16" or (precision == "int8" and has_bfloat16())
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if low else "f32",
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(self.threads),
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        return _core().compile_model(model, "CPU", options)


class OpenVinoLane:
    """A backend opened for one layout; see `lane.Lane`.

    Where memory runs out, all frames in flight are done again, and what follows too: one at a time, then in
    smaller tiles.
    """

    def __init__(
        self,
        backend: OpenVinoBackend,
        layout: PlaneLayout,
        grid: tiles.Grid,
        strength: float,
        *,
        latency: bool = False,
    ) -> None:
        self.layout = layout
        self.grid = grid
        self._backend = backend
        self._strength = strength
        self._latency = latency
        self._careful: _Pieces | None = None
        self._slots: list[_Request | _Pieces] = []
        self._open()

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout with the difference added, in new arrays, and their fate."""
        flying: deque[tuple[Frame, _Request | _Pieces]] = deque()
        free = deque(self._slots)
        try:
            for frame in frames:
                flying.append((frame, free.popleft()))
                yield from self._next(flying, free, start=True)
            while flying:
                yield from self._next(flying, free)
        finally:
            for _, slot in flying:
                slot.wait()

    def steps(self, frame: Frame) -> Mapping[str, Step]:
        """See `lane.Stepped`: three separate models here, though a frame goes through one."""
        parts = _Pieces(self._backend, self.layout, self.grid, self._strength)
        parts.start(frame)
        words = parts.words
        rgb, difference = parts.rgb.copy(), parts.difference.copy()
        return {
            "upload": Step(lambda: parts.staging.load(frame)),
            "planes to RGB": Step(lambda: parts.front(words, share_outputs=True)),
            "network": Step(lambda: parts.network(rgb)),
            "residual": Step(lambda: parts.back([*words, difference], share_outputs=True)),
            "download": Step(lambda: parts.staging.store(frame, parts.wait())),
        }

    def close(self) -> None:
        """Compiled models and their memory go; nothing is in flight here."""
        self._slots, self._careful = [], None

    def _open(self) -> None:
        """For the grid, or the first smaller one that memory bears."""
        while True:
            try:
                self._slots = self._compiled()
                return
            except Exception as error:
                if not shortage.ran_out(error):
                    raise
            self._make_less()

    def _make_less(self) -> None:
        """After memory ran out: one frame at a time, then tiles; VdeblurError where there are no smaller."""
        self.close()
        if self.grid.is_whole and not self._latency:
            self._latency = True
            self._backend.went_short("out of memory: going on with one frame at a time")
            return
        self.grid = self._backend.smaller(self.grid)

    def _compiled(self) -> list[_Request | _Pieces]:
        if not self.grid.is_whole:
            return [_Pieces(self._backend, self.layout, self.grid, self._strength)]
        streams = 1 if self._latency else self._streams()
        compiled = self._backend.compiled_frame(self.layout, self.grid, self._strength, streams)
        # One more than streams: it is filled and emptied while the others compute.
        return [_Request(compiled, self.layout) for _ in range(1 if self._latency else streams + 1)]

    def _next(
        self,
        flying: deque[tuple[Frame, _Request | _Pieces]],
        free: deque[_Request | _Pieces],
        *,
        start: bool = False,
    ) -> list[Frame]:
        """The last in flight is started; the first one's result, unless a slot is free for another."""
        try:
            if start:
                flying[-1][1].start(flying[-1][0])
            if start and free:
                return []
            result = self._landed(*flying[0])
            free.append(flying.popleft()[1])
            return [result]
        except Exception as error:
            if not shortage.ran_out(error):
                raise
        frames = [frame for frame, _ in flying]
        while flying:
            with suppress(Exception):
                flying.popleft()[1].wait()
        free.clear()  # what was compiled goes before the smaller comes
        results = self._again(frames)
        free.extend(self._slots)
        return results

    def _again(self, frames: Sequence[Frame]) -> list[Frame]:
        while True:
            self._make_less()
            self._open()
            try:
                return [self._alone(frame) for frame in frames]
            except Exception as error:
                if not shortage.ran_out(error):
                    raise

    def _alone(self, frame: Frame) -> Frame:
        slot = self._slots[0]
        slot.start(frame)
        return self._landed(frame, slot)

    def _streams(self) -> int:
        """As many as threads can feed and half of the free memory takes."""
        threads = self._backend.threads or 1
        needed = self._backend.bytes_per_px() * tiles.OVERHEAD * self.grid.height * self.grid.width
        return max(1, min(STREAMS, threads, int(free_bytes("cpu") / 2 / needed)))

    def _landed(self, frame: Frame, slot: _Request | _Pieces) -> Frame:
        *words, figures = slot.wait()
        if guard.within(figures.tolist()):
            return dataclasses.replace(frame, planes=slot.staging.store(frame, words), fate=Fate.DEBLURRED)
        if self._backend.choice.precision == "fp32":
            return dataclasses.replace(frame, fate=Fate.REFUSED)
        if self._careful is None:
            self._careful = _Pieces(self._backend, self.layout, self.grid, self._strength, careful=True)
        self._careful.start(frame)
        *words, figures = self._careful.wait()
        if guard.within(figures.tolist()):
            planes = self._careful.staging.store(frame, words)
            return dataclasses.replace(frame, planes=planes, fate=Fate.REDONE)
        return dataclasses.replace(frame, fate=Fate.REFUSED)


class _Request:
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


class _Pieces:
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
        for part, component, (rows, columns) in zip(self.parts, self._components, self._own, strict=True):
            buffer = part[0, 0]
            buffer[:rows, :columns] = _component(frame.planes, component)
            buffer[:rows, columns:] = buffer[:rows, columns - 1 : columns]
            buffer[rows:] = buffer[rows - 1]

    def store(self, frame: Frame, changed: Sequence[Any]) -> tuple[Plane, ...]:
        """The frame's planes, new, with these components in them; what is no component (alpha) stays."""
        touched = {component.plane for component in self._components}
        planes = tuple(
            plane if number not in touched else plane.copy() if plane.ndim == 3 else np.empty_like(plane)
            for number, plane in enumerate(frame.planes)
        )
        for component, words in zip(self._components, changed, strict=False):
            _component(planes, component)[...] = words[0, 0]
        return planes


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


def peak_bytes(model: ov.Model) -> int:
    """Most bytes of tensors alive at a time, in the order of computing, as if all were float32."""
    operations = model.get_ordered_ops()
    last = {
        source.get_node().get_friendly_name(): place
        for place, operation in enumerate(operations)
        for source in operation.input_values()
    }
    alive: dict[str, int] = {}
    peak = 0
    for place, operation in enumerate(operations):
        name = operation.get_friendly_name()
        if operation.get_type_name() == "Constant" or name not in last:
            continue
        alive[name] = sum(4 * int(np.prod(list(output.shape))) for output in operation.outputs())
        peak = max(peak, sum(alive.values()))
        alive = {key: size for key, size in alive.items() if last[key] > place}
    return peak


@cache
def _core() -> ov.Core:
    return ov.Core()


def _component(planes: Sequence[Plane], component: Component) -> Plane:
    plane = planes[component.plane]
    return plane if component.index is None else plane[..., component.index]
