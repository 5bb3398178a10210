"""NVIDIA GPUs: the only file with CUDA's streams, events, graphs and pinned memory.

`CudaLane` keeps planes, network and planes again in flight on one or more of them (`engine/ring.py`); the
host only fills and empties pinned planes. Where no captured graph holds, plain torch does the work; where
memory runs out, smaller tiles do. Both are said in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import cast

import torch
from torch import Tensor

from vdeblur.engine import shortage
from vdeblur.engine.eager import Corrector, EagerLane
from vdeblur.engine.lane import Step
from vdeblur.engine.opening import Opening, Timed
from vdeblur.engine.ring import Event, Stream, Work, take
from vdeblur.engine.station import StationSlot
from vdeblur.engine.tiles import Grid
from vdeblur.frame import Frame, PlaneLayout

WARM_UP = 3
"""Rounds before a capture: libraries choose their kernels and take their memory in the first."""
LAPS = 5

Run = Callable[[Iterable[Frame]], Iterator[Frame]]


class CudaLane:
    """`engine.lane.Lane`. Graphs and buffers are made when the first frame comes, and kept until `close`; for
    a picture by itself they are not worth their making, plain torch does it.

    `devices` stands in for the GPUs of the corrector's choice: so tests need none.
    """

    def __init__(
        self,
        corrector: Corrector,
        layout: PlaneLayout,
        grid: Grid,
        strength: float,
        *,
        latency: bool,
        devices: Sequence[Timed] = (),
    ) -> None:
        self.layout, self.grid = layout, grid
        self._corrector, self._strength, self._latency = corrector, strength, latency
        choice = corrector.choice
        self._devices = devices or [Cuda(torch.device(place)) for place in (choice.device, *choice.others)]
        self._run: Run | None = None
        self._slot: StationSlot | None = None  # the first of the ring

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout, in order; three of them (or batches) are in flight on each device."""
        source = iter(frames)
        worth = 1 if self._latency or self._run is not None else 2
        early, failure = take(source, worth)
        if self._run is None and len(early) == worth:
            self._run = self._open(early[0])
        if self._run is None:
            yield from self._plain().deblur(early)
        elif early:
            yield from self._run(chain(early, source))
        if failure is not None:
            raise failure

    def steps(self, frame: Frame) -> dict[str, Step]:
        """See `lane.Stepped`: each piece of the graph as a graph of its own, on the first device."""
        if self._run is None:
            self._run = self._open(frame)
        if self._slot is None:
            return self._plain().steps(frame)
        slot, streams = self._slot, self._slot.streams
        slot.load([frame] * slot.capacity)
        for stream, work in ((streams.upload, slot.upload), (streams.compute, slot.compute)):
            stream.submit(work)
            self._devices[0].settle()
        queued: dict[str, tuple[Stream, Work]] = {"upload": (streams.upload, slot.upload)}
        queued |= {name: (streams.compute, work) for name, work in slot.station.parts().items()}
        queued["download"] = (streams.download, slot.download)
        return {
            name: Step(partial(stream.submit, work), slot.capacity, getattr(stream, "raw", None))
            for name, (stream, work) in queued.items()
        }

    def close(self) -> None:
        """Wait for the devices, then let go of graphs and buffers."""
        for device in self._devices:
            device.settle()
        self._run = self._slot = None

    def _open(self, first: Frame) -> Run:
        while True:
            opening = Opening(self._corrector, self.layout, self.grid, self._strength, first)
            try:
                ring = opening.ring(self._devices, latency=self._latency)
                break
            except Exception as error:
                if not shortage.ran_out(error):
                    raise
            self.grid = self._corrector.smaller(self.grid)
        if ring is not None:
            self._slot = ring.slots[0]
            return ring.run
        self._corrector.notes.append("no captured graph holds on this device: running plain torch")
        return self._plain().deblur

    def _plain(self) -> EagerLane:
        return EagerLane(self._corrector, self.layout, self.grid, self._strength)


class Cuda:
    """`engine.station.Device` and a clock: one GPU."""

    def __init__(self, place: torch.device) -> None:
        self.place = place

    def host(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(size, dtype=dtype, pin_memory=True)

    def memory(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(size, dtype=dtype, device=self.place)

    def stream(self) -> Stream:
        return _Queue(torch.cuda.Stream(self.place))  # type: ignore[no-untyped-call]

    def event(self) -> Event:
        # The host sleeps while it waits: a core that spins is a core that does not encode.
        return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def capture(self, work: Work, stream: Stream) -> Work:
        """Warmed up on the very stream, as libraries keep memory for each; other threads may go on."""
        raw = cast(_Queue, stream).raw
        self.settle()
        with torch.cuda.stream(raw):
            for _ in range(WARM_UP):
                work()
        self.settle()
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=raw, capture_error_mode="thread_local"):
                work()
        except BaseException:
            torch.cuda.set_stream(before)  # a capture that fails does not go back to it
            raise
        return graph.replay

    def seconds(self, work: Work, stream: Stream) -> float:
        raw = cast(_Queue, stream).raw
        begin, end = (_clock() for _ in range(2))
        with torch.cuda.stream(raw):
            work()
            begin.record(raw)
            for _ in range(LAPS):
                work()
            end.record(raw)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000 / LAPS

    def settle(self) -> None:
        torch.cuda.synchronize(self.place)


def _clock() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class _Queue:
    """`engine.ring.Stream` of CUDA."""

    def __init__(self, raw: torch.cuda.Stream) -> None:
        self.raw = raw

    def submit(self, work: Work) -> None:
        with torch.cuda.stream(self.raw):
            work()

    def record(self, event: Event) -> None:
        cast(torch.cuda.Event, event).record(self.raw)

    def wait(self, event: Event) -> None:
        self.raw.wait_event(cast(torch.cuda.Event, event))
