"""`Deblurrer`: frames in, frames out, whatever the device; the one door to the engine.

Torch is imported by the backends that compute with it, never here.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from vdeblur import colour
from vdeblur.engine import pictures, shortage, tiles
from vdeblur.engine.budget import free_bytes
from vdeblur.engine.decision import decide
from vdeblur.engine.device import choose, guess_kind
from vdeblur.engine.lane import Backend, Lane, Pixels, Step, padded
from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError, to_install
from vdeblur.frame import Fate, Frame, PlaneLayout
from vdeblur.weights.arrays import Weights, load_arrays
from vdeblur.weights.quantised import Quantised
from vdeblur.weights.store import resolve

if TYPE_CHECKING:
    from vdeblur.models.contract import DeblurNetwork


class Deblurrer:
    """Sharpens frames with one network; a context manager, to be used from one thread at a time, and not in a
    process forked from one that has deblurred (VdeblurError).

    `deblur(frames)` gives every frame back, in order, with its own pts, duration, index and side data, and
    with its `fate`; it may read some frames ahead. Only the network's difference is added to the planes,
    scaled by `strength` and rounded once: a difference of zero gives bit-identical planes, and alpha is
    never touched. A result that deblurring cannot give is done again in float32, else the source frame
    passes (`engine/guard.py`). Frames of one layout share buffers, made when its first frame comes; a new
    layout in mid-stream opens new ones, and so does a second `deblur` while the first is still under way.
    With strength 0 nothing runs and frames pass as they are.

    Pictures as arrays: height x width x 3 (RGB) or height x width (grey); uint8, uint16 (0 to 65535), or
    float from 0 to 1. Others are refused with ValueError.

    Opened with `latency` it never reads ahead and uses all cores for the one frame: for live pictures.
    """

    def __init__(
        self,
        network: DeblurNetwork | Weights,
        *,
        model: str = "custom",
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        tile: str | int = "auto",
        strength: float = 1.0,
        latency: bool = False,
        int8: Quantised | None = None,
        sha256: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"--strength {strength:g}: must lie between 0 (nothing) and 1 (everything)")
        self.model = model
        self.strength = strength
        self._sha256 = sha256
        self._notes = notes
        self._tile = tiles.check(tile)
        self._latency = latency
        self._backend = _open_backend(network, int8, device, precision, backend)
        self._lane: Lane | None = None  # the latest
        self._in_use = False  # by a `deblur` that is under way
        self._bytes_per_px: float | None = None
        self._s_per_px: float | None = None

    @classmethod
    def load(
        cls,
        model: str = "auto",
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        tile: str | int = "auto",
        strength: float = 1.0,
        latency: bool = False,
    ) -> Deblurrer:
        """A network by name (`vdeblur weights list`) or from a weights file, on the device asked for.

        Raises InputError or MissingRuntimeError, one line, for what is not known, not here or not built.
        """
        ref = resolve(model, None if weights is None else Path(weights), guess_kind(device))
        decision = decide(ref, device, precision, backend)
        here: tuple[str, ...] = ()
        if decision.choice.backend == "openvino" and (reason := _why_no_openvino()) is not None:
            said = f"openvino is installed and does not load ({reason})"
            if backend == "openvino" or precision == "int8":
                raise MissingRuntimeError(f"{said}: {to_install('vdeblur[openvino]')}")
            backend, here = "torch", (f"{said}: torch computes",)
            decision = decide(ref, device, precision, backend)
        if decision.choice.precision == "int8" and decision.int8 is None:
            raise MissingRuntimeError(
                f"--precision int8: there is no int8 graph of {ref.name} yet; `vdeblur FILE` makes one, once"
            )
        network: DeblurNetwork | Weights
        if decision.choice.backend == "openvino":
            network = load_arrays(ref.path, ensemble=ref.ensemble)
            sha256, notes = network.sha256, network.notes
        else:
            from vdeblur.weights.loading import load_network

            loaded = load_network(ref.path, ensemble=ref.ensemble)
            network, sha256, notes = loaded.network, loaded.sha256, loaded.notes
        return cls(
            network,
            model=ref.name,
            device=device,
            precision=precision,
            backend=backend,
            tile=tile,
            strength=strength,
            latency=latency,
            int8=decision.int8 if decision.choice.precision == "int8" else None,  # as its gate has decided
            sha256=sha256,
            notes=(*notes, *here, *decision.notes),
        )

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Every frame, in order, sharpened."""
        if self.strength == 0.0:
            for frame in frames:
                yield dataclasses.replace(frame, fate=Fate.PASSED)
            return
        for layout, group in groupby(frames, key=lambda frame: frame.layout):
            lane = self._open(layout)
            self._in_use = True
            try:
                yield from self._timed(lane, group)
            finally:
                if lane is self._lane:
                    self._in_use = False
                else:
                    lane.close()  # another `deblur` began meanwhile, with one of its own

    def deblur_array(self, picture: Pixels) -> Pixels:
        """A single picture, sharpened: a new array of its shape and type, rounded and clipped."""
        if pictures.checked(picture).dtype.kind == "f":
            sharp = self.deblur_rgb_or_none(picture)
            return np.clip(picture if sharp is None else sharp, 0.0, 1.0).astype(picture.dtype)
        found = next(self.deblur([pictures.frame_of(picture)])).planes[0]
        return found.copy() if found is picture else found

    def deblur_rgb_or_none(self, picture: Pixels) -> Pixels | None:
        """A single picture, sharpened, as float32 from 0 to 1, neither rounded nor clipped.

        None where the guard refuses, so that nonsense does not pass for caution in scores.
        """
        values = pictures.values(pictures.checked(picture))
        if self.strength == 0.0:
            return values
        height, width = picture.shape[:2]
        rows, columns = padded(pictures.frame_of(picture).layout, self._backend.multiple_of)
        rgb = np.broadcast_to(values.reshape(height, width, -1), (height, width, 3))
        rgb = np.pad(rgb.clip(0.0, 1.0), ((0, rows - height), (0, columns - width), (0, 0)), "edge")
        self._warm()
        difference = self._difference(rgb, self._grid(rows, columns), height, width)
        if difference is None:
            return None
        change = difference * np.float32(self.strength)
        if picture.ndim == 2:  # with the weights of grey frames
            change = change @ colour.MATRICES["rgb"][0].astype(np.float32)
        result: Pixels = values + change
        return result

    def _difference(self, rgb: Pixels, grid: tiles.Grid, height: int, width: int) -> Pixels | None:
        """The backend's, in smaller tiles from here on where memory runs out."""

        def make_less() -> None:
            nonlocal grid
            grid = self._backend.smaller(grid)
            self._tile = max(grid.tile)

        return shortage.going_on(lambda: self._backend.difference(rgb, grid, height, width), make_less)

    def estimate_s_per_frame(self, layout: PlaneLayout) -> float:
        """Seconds for a frame: as the latest one took; before the first, from the warm-up laps."""
        if self.strength == 0.0:
            return 0.0
        return self._warm() * self._grid(*padded(layout, self._backend.multiple_of)).work_px

    def steps(self, frame: Frame) -> Mapping[str, Step]:
        """The steps of a frame, each to be timed alone."""
        return self._open(frame.layout).steps(frame)

    def describe(self, layout: PlaneLayout | None = None) -> dict[str, Any]:
        """What runs, as plain values; with a layout also how its pictures are cut.

        Once graphs are open on a GPU also which way they compute, and how many frames at a time.
        """
        tile: Any = self._tile
        if layout is not None:
            grid = self._grid(*padded(layout, self._backend.multiple_of))
            tile = "off" if grid.is_whole else f"{grid.tile[1]}x{grid.tile[0]}, overlap {grid.overlap}"
        opened = getattr(self._lane, "describe", None)
        return {
            "model": self.model,
            "weights_sha256": self._sha256,
            "device": self._backend.choice.device,
            "device_name": self._backend.choice.name,
            "precision": self._backend.choice.precision,
            "backend": self._backend.choice.backend,
            "threads": self._backend.threads,
            "tile": tile,
            "strength": self.strength,
            **({} if opened is None else opened()),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided that nobody asked for, one line each."""
        return (*self._notes, *self._backend.choice.notes, *self._backend.notes)

    def close(self) -> None:
        """Let go of the buffers; a later frame makes new ones."""
        if self._lane is not None and not self._in_use:
            self._lane.close()
        self._lane, self._in_use = None, False

    def __enter__(self) -> Deblurrer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _warm(self) -> float:
        """Seconds for a pixel; the first call runs the warm-up laps."""
        _stay_in_process()
        if self._s_per_px is None:
            self._s_per_px = self._backend.warm_up()
        return self._s_per_px

    def _open(self, layout: PlaneLayout) -> Lane:
        self._warm()
        if self._lane is None or self._lane.layout != layout or self._in_use:
            self.close()  # the old buffers go before the new ones come
            grid = self._grid(*padded(layout, self._backend.multiple_of))
            self._lane = self._backend.open_lane(layout, grid, self.strength, latency=self._latency)
        return self._lane

    def _grid(self, rows: int, columns: int) -> tiles.Grid:
        """How a padded picture of this size is cut, as `--tile` says."""
        if self._tile == "off":
            return tiles.whole(rows, columns)
        multiple = self._backend.multiple_of
        overlap = tiles.overlap_for(self._backend.reach, multiple)
        if self._tile != "auto":
            return tiles.cut(rows, columns, int(self._tile), multiple, overlap)
        if self._bytes_per_px is None:
            self._bytes_per_px = self._backend.bytes_per_px()
        free = free_bytes(self._backend.choice.device)
        around = self._backend.bytes_around
        return tiles.fit(rows, columns, multiple, overlap, self._bytes_per_px, free, around)

    def _timed(self, lane: Lane, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The lane's frames; keeps the time of the latest for estimates, without the wait for its source."""
        waited = 0.0

        def fed() -> Iterator[Frame]:
            nonlocal waited
            source = iter(frames)
            while True:
                begin = time.perf_counter()
                frame = next(source, None)
                waited += time.perf_counter() - begin
                if frame is None:
                    return
                yield frame

        results = lane.deblur(fed())
        while True:
            begin, waited = time.perf_counter(), 0.0
            frame = next(results, None)
            if frame is None:
                return
            self._s_per_px = (time.perf_counter() - begin - waited) / lane.grid.work_px
            yield frame


def deblur_array(picture: Pixels, model: str = "auto", **options: Any) -> Pixels:
    """Deblur one picture: height x width x 3 (RGB) or height x width, uint8, uint16 or float from 0 to 1.

    `options` are those of `Deblurrer.load`. For many pictures load once and call `Deblurrer.deblur_array`.
    """
    with Deblurrer.load(model, **options) as engine:
        return engine.deblur_array(picture)


_process: int | None = None  # that has computed


def _stay_in_process() -> None:
    """A forked child has none of its parent's threads, and would wait for them for ever."""
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise VdeblurError(
            "this process was forked from one that has deblurred, whose threads it lacks: start processes "
            "with multiprocessing.get_context('spawn'), or before the first picture"
        )


def _why_no_openvino() -> str | None:
    """Why it does not load although it is installed: too old, or without a library of the system's."""
    try:
        import vdeblur.engine.openvino  # noqa: F401
    except Exception as error:
        return " ".join(str(error).split())[:160] or type(error).__name__
    return None


def _open_backend(
    network: DeblurNetwork | Weights, int8: Quantised | None, device: str, precision: str, backend: str
) -> Backend:
    if isinstance(network, Weights):
        from vdeblur.engine.openvino import OpenVinoBackend, bodies_of

        choice = choose(device, precision, backend, leaves_torch=True, int8=int8 is not None)
        return OpenVinoBackend(bodies_of(network, int8 if choice.precision == "int8" else None), choice)
    choice = choose(device, precision, backend, half_is_safe=network.half_is_safe)
    if choice.backend == "openvino":
        from vdeblur.engine.openvino import OpenVinoBackend, converted

        return OpenVinoBackend(converted(network), choice)
    from vdeblur.engine.corrector import Corrector

    return Corrector(network, choice)
