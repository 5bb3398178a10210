"""Networks on CPUs by OpenVINO: what is compiled, in which precision, on how many threads; no torch.

A model is `openvino_graph.whole`, from planes to planes; where a picture is cut into tiles it is three
models, the middle one, the network, for each tile (`openvino_request.py`).  Differences, sums and
rounding are float32 in every precision: a test holds it.  Precision is always said: left alone, OpenVINO
takes bfloat16 where a processor has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from vdeblur.engine import guard, openvino_graph, shortage, tiles
from vdeblur.engine.device import Choice, cpu_threads, has_bfloat16
from vdeblur.engine.lane import TRIAL_PX, Pixels, quickest_s
from vdeblur.engine.openvino_body import body as float_body
from vdeblur.engine.openvino_lane import OpenVinoLane
from vdeblur.engine.openvino_request import by_tiles
from vdeblur.frame import PlaneLayout
from vdeblur.weights.arrays import Weights
from vdeblur.weights.quantised import Quantised

if TYPE_CHECKING:
    from vdeblur.models.contract import DeblurNetwork

SIZE = {"fp32": 1.0, "bf16": 0.6, "int8": 0.6}
"""Memory of a precision, as a share of what float32 tensors would take."""
AROUND = 290.0
"""Bytes for each pixel of a picture that is cut: what stands before and behind the network is not (measured).
Whole pictures do without, as one model shares its memory: small networks take less so."""


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
        return quickest_s(lambda: network(trial)) / side**2

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
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float, streams: int
    ) -> ov.CompiledModel:
        """Planes to planes in one model."""
        model = openvino_graph.whole(self._bodies.fast(), layout, grid.height, grid.width, strength)
        return self._compiled(model, self.choice.precision, streams)

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
