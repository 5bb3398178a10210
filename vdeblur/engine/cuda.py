"""NVIDIA GPUs: the only file with CUDA's streams, events, graphs and pinned memory.

`CudaLane` keeps planes, network and planes again in flight on one or more of them (`engine/ring.py`); the
host only fills and empties pinned planes. Where no captured graph holds, plain torch does the work; where
memory runs out, smaller tiles do. Both are said in a note.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor

from vdeblur.engine import shortage
from vdeblur.engine.corrector import Corrector
from vdeblur.engine.eager import EagerLane
from vdeblur.engine.lane import Step
from vdeblur.engine.opening import Opened, Opening
from vdeblur.engine.ring import Event, Stream, Work, take
from vdeblur.engine.station import Device
from vdeblur.engine.tiles import Grid
from vdeblur.frame import Frame, PlaneLayout

WARM_UP = 3
"""Rounds before a capture: libraries choose their kernels and take their memory in the first."""
LAPS = 5
WAKE_S = 0.5
"""Of work before anything is timed: clocks rise from idle, and kernels would be chosen while they do."""
WAKE_SIDE = 4096

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
        devices: Sequence[Device] = (),
    ) -> None:
        self.layout, self.grid = layout, grid
        self._corrector, self._strength, self._latency = corrector, strength, latency
        choice = corrector.choice
        self._devices = devices or [Cuda(torch.device(place)) for place in (choice.device, *choice.others)]
        self._run: Run | None = None
        self._opened: Opened | None = None  # None also where plain torch does the work
        self._opened_in_s = 0.0

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
        """See `lane.Lane`: each piece of the graph as a graph of its own, on the first device."""
        if self._run is None:
            self._run = self._open(frame)
        if self._opened is None:
            return self._plain().steps(frame)
        slot = self._opened.ring.slots[0]
        streams = slot.streams
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

    def describe(self) -> dict[str, Any]:
        """What was chosen at opening, as plain values; empty where no graph runs."""
        if self._opened is None:
            return {}
        return {
            "way": self._opened.way,
            "frames_at_a_time": self._opened.capacity,
            "trial_ms_per_frame": round(1000 * self._opened.s_per_frame, 4),
            "opened_in_s": round(self._opened_in_s, 1),
        }

    def close(self) -> None:
        """Wait for the devices, then let go of graphs and buffers."""
        for device in self._opened.devices if self._opened else ():
            device.settle()
        self._run = self._opened = None

    def _open(self, first: Frame) -> Run:
        def opened() -> Opened | None:
            opening = Opening(self._corrector, self.layout, self.grid, self._strength, first)
            return opening.ring(self._devices, latency=self._latency)

        def make_less() -> None:
            self.grid = self._corrector.smaller(self.grid)

        begin = time.monotonic()
        self._opened = shortage.going_on(opened, make_less)
        self._opened_in_s = time.monotonic() - begin
        if self._opened is not None:
            return self._opened.ring.run
        self._corrector.notes.append("no captured graph holds on this device: running plain torch")
        return self._plain().deblur

    def _plain(self) -> EagerLane:
        return EagerLane(self._corrector, self.layout, self.grid, self._strength)


class Cuda:
    """`engine.station.Device`: one GPU."""

    def __init__(self, place: torch.device) -> None:
        self.place = place
        self._is_awake = False

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
        self._wake()
        with torch.cuda.stream(raw):
            for _ in range(WARM_UP):
                work()
        self.settle()
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        pool = torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=raw, capture_error_mode="thread_local"):
                work()
        except BaseException:
            torch.cuda.set_stream(before)  # a capture that fails does not go back to it
            self._abandon(pool)
            raise
        return graph.replay

    def seconds(self, work: Work, stream: Stream) -> float:
        raw = cast(_Queue, stream).raw
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
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

    def _wake(self) -> None:
        """Once, before the first warm-up."""
        self.settle()
        if self._is_awake:
            return
        square = torch.full((WAKE_SIDE, WAKE_SIDE), 1 / WAKE_SIDE, dtype=torch.half, device=self.place)
        end = time.monotonic() + WAKE_S
        while time.monotonic() < end:
            for _ in range(8):
                torch.mm(square, square)
            self.settle()
        self._is_awake = True

    def _abandon(self, pool: Any) -> None:
        """Take a capture that could not be ended out of torch's books.

        Before 2.12 torch leaves it there as still under way: every later `empty_cache` raises, and so do
        random numbers of the device's own generator until another capture ends well.
        """
        if torch.__version__ >= "2.12":
            return
        index = torch.cuda.current_device() if self.place.index is None else self.place.index
        generator = torch.cuda.default_generators[index]
        generator.graphsafe_set_state(generator.clone_state())  # same seed and offset, not under capture
        with suppress(AttributeError, RuntimeError):  # torch before 2.8 has no such call
            torch._C._cuda_endAllocateToPool(index, pool)
            # Not reached where the capture itself was ended: then the graph gives its memory back.
            torch._C._cuda_releasePool(index, pool)


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
