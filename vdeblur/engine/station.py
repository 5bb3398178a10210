"""One device's part in the ring: the step from planes to planes, captured once, and the slots that feed it.

The step has static buffers; every slot has planes of its own, on the host and on the device, and copies to
and from the static ones on the device. All of it is made at opening; after that nothing is allocated, but for
a frame that is done again in float32. What a device is (memory, streams, marks, capture) it is told: by
`engine/cuda.py`, or by a test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from vdeblur.engine import guard, planes, tiles
from vdeblur.engine.corrector import by_tiles, pieces_on
from vdeblur.engine.lane import component_sizes
from vdeblur.engine.ring import Event, Stream, Streams, Work
from vdeblur.engine.staging import Staging
from vdeblur.frame import Fate, Frame, PlaneLayout

Correct = Callable[[Tensor], Tensor]
"""RGB (N, 3, rows, columns), float32, whole units, to its difference: float32, contiguous."""
Zeros = Callable[[tuple[int, ...], torch.dtype], Tensor]


class Device(Protocol):
    """Memory, streams, capture and clock of one device; `place` is torch's name of it."""

    place: torch.device

    def host(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Zeros on the host that the device copies from and to by itself."""
        ...

    def memory(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Zeros on the device."""
        ...

    def stream(self) -> Stream: ...
    def event(self) -> Event: ...

    def capture(self, work: Work, stream: Stream) -> Work:
        """Do `work` a few times on a stream; the answer does it once more each time, as one graph."""
        ...

    def seconds(self, work: Work, stream: Stream) -> float:
        """For one round of `work` on the stream."""
        ...

    def settle(self) -> None:
        """Wait until all that was ever queued is done."""
        ...


class Station:
    """The step for up to `capacity` frames of a layout at a time.

    words        static input: the components as stored, padded, (capacity, rows, columns)
    changed      static output: the components with the difference, at their own size
    figures      static output: the guard's figures of each frame, (capacity, 3)
    difference   of the latest step at its own size, (capacity, 3, height, width): for comparisons

    `correct` does a tile, `careful` a whole picture in float32, in such tiles as memory bears. `redoes`:
    what the guard refuses is done again by `careful` (of no use where `correct` is float32 too).
    """

    def __init__(
        self,
        device: Device,
        layout: PlaneLayout,
        grid: tiles.Grid,
        strength: float,
        *,
        multiple_of: int,
        capacity: int,
        correct: Correct,
        careful: Correct,
        redoes: bool,
    ) -> None:
        self.device, self.layout, self.grid, self.capacity = device, layout, grid, capacity
        self.careful, self.redoes = careful, redoes
        self._multiple_of, self._strength, self._correct = multiple_of, strength, correct
        self.streams = Streams(device.stream(), device.stream(), device.stream())
        self._pieces = [] if grid.is_whole else list(pieces_on(grid, device.place))
        self.words = self.staging(device.memory).parts
        self.changed = self.results(device.memory)
        self.figures = device.memory((capacity, 3), torch.float32)
        self.difference = torch.empty(0)
        self.replay = device.capture(self._step, self.streams.compute)

    def staging(self, zeros: Zeros) -> Staging:
        """Buffers for the padded components of as many frames as the station takes."""
        return Staging(self.layout, self._multiple_of, self.capacity, zeros)

    def results(self, zeros: Zeros) -> list[Tensor]:
        """Buffers for the components at their own size."""
        return [
            zeros((self.capacity, *size), part.dtype)
            for part, size in zip(self.words, component_sizes(self.layout), strict=True)
        ]

    @torch.inference_mode()
    def run(self, words: Sequence[Tensor], correct: Correct) -> tuple[list[Tensor], Tensor, Tensor]:
        """Padded words to (changed words, figures, difference); allocates."""
        height, width = self.layout.height, self.layout.width
        difference = correct(planes.to_rgb(words, self.layout))[..., :height, :width]
        return *self._added(words, difference), difference

    def parts(self) -> dict[str, Work]:
        """The step in pieces, each a graph of its own: for measuring. Slots are not touched."""
        with torch.inference_mode():
            rgb = planes.to_rgb(self.words, self.layout)
            difference = self._in_tiles(rgb)[..., : self.layout.height, : self.layout.width]
        pieces: dict[str, Work] = {
            "planes to RGB": lambda: planes.to_rgb(self.words, self.layout, out=rgb),
            "network": lambda: self._in_tiles(rgb),
            "residual": lambda: self._added(self.words, difference),
        }
        compute = self.streams.compute
        return {
            name: self.device.capture(torch.inference_mode()(work), compute) for name, work in pieces.items()
        }

    @torch.inference_mode()
    def _step(self) -> None:
        changed, figures, self.difference = self.run(self.words, self._in_tiles)
        self.figures.copy_(figures)
        for there, here in zip(self.changed, changed, strict=True):
            there.copy_(here)

    def _added(self, words: Sequence[Tensor], difference: Tensor) -> tuple[list[Tensor], Tensor]:
        """The words with the difference, at their own size, and the guard's figures of each frame."""
        figures = torch.stack([guard.figures(one) for one in torch.split(difference, 1)])
        return planes.add_difference(words, difference, self.layout, self._strength), figures

    def _in_tiles(self, rgb: Tensor) -> Tensor:
        return by_tiles(self._correct, rgb, self.grid, self._pieces)


class StationSlot:
    """`ring.Slot` of a station: planes and marks of its own."""

    def __init__(self, station: Station) -> None:
        device = station.device
        self.streams, self.capacity = station.streams, station.capacity
        self.uploaded, self.computed, self.downloaded = (device.event() for _ in range(3))
        self.station = station
        self._staging = station.staging(device.host)
        self._words = station.staging(device.memory).parts
        self._changed = station.results(device.memory)
        self._figures = device.memory((self.capacity, 3), torch.float32)
        self._back = station.results(device.host)
        self._said = device.host((self.capacity, 3), torch.float32)
        self._frames: Sequence[Frame] = ()
        self._redone: set[int] = set()

    def load(self, frames: Sequence[Frame]) -> None:
        self._frames, self._redone = frames, set()
        for place, frame in enumerate(frames):
            self._staging.load(frame, place)

    def upload(self) -> None:
        _copy(self._words, self._staging.parts)

    def compute(self) -> None:
        station = self.station
        _copy(station.words, self._words)
        station.replay()
        _copy(self._changed, station.changed)
        self._figures.copy_(station.figures)

    def download(self) -> None:
        _copy(self._back, self._changed)
        self._said.copy_(self._figures, non_blocking=True)

    def doubtful(self) -> bool:
        return self.station.redoes and bool(self._refused())

    def redo(self) -> None:
        for place in self._refused():
            words = [part[place : place + 1] for part in self._words]
            changed, figures, _ = self.station.run(words, self.station.careful)
            _copy([part[place : place + 1] for part in self._changed], changed)
            self._figures[place : place + 1] = figures
            self._redone.add(place)

    def store(self) -> list[Frame]:
        refused = self._refused()
        results: list[Frame] = []
        for place, frame in enumerate(self._frames):
            if place in refused:
                results.append(dataclasses.replace(frame, fate=Fate.REFUSED))
                continue
            fate = Fate.REDONE if place in self._redone else Fate.DEBLURRED
            made = self._staging.store(frame, self._back, place)
            results.append(dataclasses.replace(frame, planes=made, fate=fate))
        self._frames = ()
        return results

    def _refused(self) -> list[int]:
        """Places whose figures, as they came back, are beyond the guard's bounds."""
        said = self._said.tolist()
        return [place for place in range(len(self._frames)) if not guard.within(said[place])]


def _copy(there: Sequence[Tensor], here: Sequence[Tensor]) -> None:
    for target, source in zip(there, here, strict=True):
        target.copy_(source, non_blocking=True)
