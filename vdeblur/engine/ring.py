"""The ring: frames in flight on one or more devices, in order; who waits for whom, and why.

A slot owns all that its frames need, for life. Slots are used strictly in turn. A device has three streams,
each of which does its work in the order it was queued; streams know nothing of each other but what is waited
for. There are three waits, and no hazard is left that none of them covers (h: host, u, c, d: the streams):

    wait                              without it
    c waits for the slot's `uploaded`     the network reads planes that have not come yet
    d waits for the slot's `computed`     planes are fetched that have not been written yet
    h waits for the oldest `downloaded`   planes are read that have not come back; and the slot's next frame
                                          is written over planes that the work before still reads or writes

The third covers every reuse of a slot: its download came after its network, that after its upload. So the
host waits for the oldest frame only, and while it does, all the younger ones are queued on the device.
With slots of several devices, in turn, whole frames are dealt out in turn and come back in order.

Neither torch nor CUDA is known here: tests drive it with streams that are as late as they may be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Generic, Protocol, TypeVar

from vdeblur.frame import Frame

Work = Callable[[], object]


class Event(Protocol):
    """A mark in a stream; recorded again it is the new mark."""

    def synchronize(self) -> None:
        """The host waits until all work before the mark is done."""


class Stream(Protocol):
    """A queue of device work, done in its order; queueing does not wait for anything."""

    def submit(self, work: Work) -> None: ...
    def record(self, event: Event) -> None: ...
    def wait(self, event: Event) -> None:
        """Work that is queued from now on begins after the event's latest mark."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One device's queues."""

    upload: Stream
    compute: Stream
    download: Stream


class Slot(Protocol):
    """Room for up to `capacity` frames in flight: host planes, device planes, events.

    `load` and `store` are done by the host, `upload`, `compute`, `download` and `redo` are queued.
    """

    streams: Streams
    uploaded: Event
    computed: Event
    downloaded: Event
    capacity: int

    def load(self, frames: Sequence[Frame]) -> None:
        """Into the host's planes."""

    def upload(self) -> None: ...
    def compute(self) -> None: ...
    def download(self) -> None: ...

    def doubtful(self) -> bool:
        """Whether a result that came back is refused and can be had more carefully."""
        ...

    def redo(self) -> None:
        """`compute` for the doubtful ones, the careful way; the planes that were uploaded are still there."""

    def store(self) -> list[Frame]:
        """The frames with what came back, in arrays of their own."""
        ...


SlotT = TypeVar("SlotT", bound=Slot)


class Ring(Generic[SlotT]):
    """Slots in their order; `run` may be called again, also after it was left in the middle."""

    def __init__(self, slots: Sequence[SlotT]) -> None:
        self.slots = slots

    def run(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Every frame, in order. When the source fails, what is in flight comes first, then its error."""
        source = iter(frames)
        flying: deque[SlotT] = deque()
        try:
            for slot in cycle(self.slots):
                batch, failure = take(source, slot.capacity)
                if batch:
                    flying.append(slot)
                    _launch(slot, batch)
                ended = len(batch) < slot.capacity
                while flying and (ended or len(flying) == len(self.slots)):
                    yield from _land(flying.popleft())
                if failure is not None:
                    raise failure
                if ended:
                    return
        finally:
            for slot in flying:  # left early: nothing may still be at work on buffers that may go
                slot.downloaded.synchronize()


def take(source: Iterator[Frame], count: int) -> tuple[list[Frame], Exception | None]:
    """Up to `count` frames, and the error that kept them from being more."""
    batch: list[Frame] = []
    try:
        for frame in islice(source, count):
            batch.append(frame)  # what came before an error is kept
    except Exception as error:
        return batch, error
    return batch, None


def _launch(slot: Slot, frames: Sequence[Frame]) -> None:
    """Queue all that is to be done for these frames; waits for nothing."""
    upload, compute = slot.streams.upload, slot.streams.compute
    slot.load(frames)
    upload.submit(slot.upload)
    upload.record(slot.uploaded)
    compute.wait(slot.uploaded)
    _make(slot, slot.compute)


def _make(slot: Slot, work: Work) -> None:
    compute, download = slot.streams.compute, slot.streams.download
    compute.submit(work)
    compute.record(slot.computed)
    download.wait(slot.computed)
    download.submit(slot.download)
    download.record(slot.downloaded)


def _land(slot: Slot) -> list[Frame]:
    """Wait for this slot, the oldest; a doubtful result is made again while the younger ones go on."""
    slot.downloaded.synchronize()
    if slot.doubtful():
        _make(slot, slot.redo)
        slot.downloaded.synchronize()
    return slot.store()
