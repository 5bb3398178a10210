"""Opens the ring for one layout: finds the quickest way to compute the network that holds, by trying.

Each way (`engine/ways.py`) is captured, its graph's result compared with plain float32, then timed. One that
fails or deviates is not used, with a note. What is opened here is never changed while frames are in flight.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vdeblur.engine import guard, shortage
from vdeblur.engine.corrector import Corrector
from vdeblur.engine.ring import Ring
from vdeblur.engine.staging import Staging
from vdeblur.engine.station import Device, Station, StationSlot
from vdeblur.engine.tiles import Grid
from vdeblur.engine.ways import Way, fault, load_trial, ways_of
from vdeblur.frame import Frame, PlaneLayout

SLOTS = 3
"""Frames (or batches) in flight on a device: one coming, one in the network, one going."""
BATCHES = (2, 4)
"""Frames at a time that are tried for files: a small picture alone leaves a large device idle."""
BATCH_PX = 1280 * 720
"""Pictures above this are never taken by twos."""
PATIENCE_S = 20.0
"""After so long nothing quicker is looked for once a way holds: libraries may compile for each."""
WORTH = 0.95
"""A batch must do with this share of the time of the next smaller one."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A way that holds, open, and its seconds for a frame."""

    way: Way
    station: Station
    seconds: float


@dataclass(frozen=True, slots=True)
class Opened:
    """The ring, the devices in it, and what was chosen: the way, frames at a time, and seconds for a frame in
    the trial.
    """

    ring: Ring[StationSlot]
    devices: Sequence[Device]
    way: str
    capacity: int
    s_per_frame: float


class Opening:
    """One layout, to be opened on some devices; the first frame is among the pictures of the trial."""

    def __init__(
        self, corrector: Corrector, layout: PlaneLayout, grid: Grid, strength: float, first: Frame
    ) -> None:
        self._corrector, self._layout, self._grid = corrector, layout, grid
        self._careful_grid = grid
        self._strength, self._first = strength, first
        self._until_s = time.monotonic() + PATIENCE_S

    def ring(self, devices: Sequence[Device], *, latency: bool) -> Opened | None:
        """Open, or None where no way holds. Raises what torch raises where memory runs out."""
        best = self._best(devices[0])
        if best is None:
            return None
        if best.way.precision != self._corrector.choice.precision:
            self._corrector.use_float32()
        if not latency and self._grid.is_whole and self._grid.work_px <= BATCH_PX:
            best = self._batched(devices[0], best)
        rows = [self._slots(best.station, latency)]
        used = [devices[0]]
        for device in devices[1:]:
            try:
                rows.append(self._slots(self._alike(device, best), latency))
                used.append(device)
            except Exception as error:  # full, another program's alone, broken: the others go on
                self._corrector.notes.append(f"{device.place} takes no part: {_first_line(error)}")
        for device in used:
            device.settle()  # the zeros of the buffers are written, whichever stream comes first
        # In turn over the devices: so whole frames are dealt out in turn.
        ring = Ring([slot for turn in zip(*rows, strict=True) for slot in turn])
        return Opened(ring, used, best.way.name, best.station.capacity, best.seconds)

    def _alike(self, device: Device, best: _Held) -> Station:
        """The best way, on a further device."""
        corrector = _on(self._corrector, device.place)
        ways = ways_of(corrector.network, best.way.precision)
        way = next(way for way in ways if way.name == best.way.name)
        return self._station(device, corrector, way, best.station.capacity)

    @staticmethod
    def _slots(station: Station, latency: bool) -> list[StationSlot]:
        return [StationSlot(station) for _ in range(1 if latency else SLOTS)]

    def _best(self, device: Device) -> _Held | None:
        """The quickest that holds; ways of a lower precision only where no other does."""
        best: _Held | None = None
        for way in ways_of(self._corrector.network, self._corrector.choice.precision):
            if best is not None and (best.way.precision != way.precision or self._is_late()):
                break
            try:
                found = self._tried(device, way, 1)
            except (RuntimeError, MemoryError):
                if best is None:
                    raise
                break  # no room for two at a time: the one that holds will do
            if isinstance(found, str):
                self._corrector.notes.append(f"{way.name} is not used: {found}")
            elif best is None or found.seconds < best.seconds:
                best = found
        return best

    def _batched(self, device: Device, best: _Held) -> _Held:
        """The same way with more frames at a time, as long as that pays."""
        for capacity in BATCHES:
            if self._is_late():
                break
            try:
                found = self._tried(device, best.way, capacity)
            except (RuntimeError, MemoryError):
                break
            if isinstance(found, str):
                self._corrector.notes.append(f"{capacity} frames at a time are not used: {found}")
                break
            if found.seconds > WORTH * best.seconds:
                break
            best = found
        return best

    def _tried(self, device: Device, way: Way, capacity: int) -> _Held | str:
        """The way, open, or what is wrong with it; raises only where memory runs out."""
        try:
            station = self._station(device, self._corrector, way, capacity)
            wrong = self._wrong(device, station)
        except Exception as error:  # compilers and libraries fail in many ways; the next one may hold
            if shortage.ran_out(error):
                raise
            wrong = _first_line(error)
        if wrong is not None:
            return wrong
        return _Held(way, station, device.seconds(station.replay, station.streams.compute) / capacity)

    def _is_late(self) -> bool:
        return time.monotonic() > self._until_s

    def _station(self, device: Device, corrector: Corrector, way: Way, capacity: int) -> Station:
        def make_less() -> None:
            self._careful_grid = corrector.cut(self._careful_grid)

        def careful(rgb: Tensor) -> Tensor:
            return shortage.going_on(lambda: corrector.careful(rgb, self._careful_grid), make_less)

        return Station(
            device,
            self._layout,
            self._grid,
            self._strength,
            multiple_of=corrector.multiple_of,
            capacity=capacity,
            correct=way.make(),
            careful=careful,
            redoes=way.precision != "fp32",
        )

    def _wrong(self, device: Device, station: Station) -> str | None:
        """What is wrong with the captured step on the trial picture or the first frame, or None."""
        staging = station.staging(device.host)
        found: list[str | None] = []
        for load in (
            load_trial,
            partial(_load, self._first),
        ):  # one after the other: the buffers are the same
            load(staging)
            station.streams.compute.submit(partial(_compare, station, staging.parts, found))
            device.settle()
        return next((said for said in found if said is not None), None)


def _compare(station: Station, loaded: Sequence[Tensor], said: list[str | None]) -> None:
    """What `fault` says of each place, captured, beside one of them, careful: all hold the same frame.

    Where the careful result is refused there is nothing to compare with: the frame would pass.
    """
    for there, here in zip(station.words, loaded, strict=True):
        there.copy_(here)
    station.replay()
    _, figures, careful = station.run([part[:1] for part in station.words], station.careful)
    if guard.within(figures[0].tolist()):
        said.extend(fault(found, careful) for found in torch.split(station.difference, 1))


def _load(frame: Frame, staging: Staging) -> None:
    """The frame into every place of the buffers."""
    for place in range(len(staging.parts[0])):
        staging.load(frame, place)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _on(corrector: Corrector, place: torch.device) -> Corrector:
    """The same network once more, on another device."""
    choice = dataclasses.replace(corrector.choice, device=str(place), others=())
    return Corrector(copy.deepcopy(corrector.network), choice)
