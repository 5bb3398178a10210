"""A device without hardware: memory of the host, and streams whose work is done as late or early as they may.

Work is only queued when it is submitted. It is done when somebody must have it (`synchronize`), or before, as
far as the schedule likes. A wait that is missing therefore shows as a wrong picture, not as luck.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from vdeblur.engine.ring import Work

Kind = tuple[str, str]
"""Who waits, and for which event: ("compute", "uploaded")."""


@dataclass
class Mark:
    """A place in a stream, reached when the work before it is done."""

    stream: LateStream
    reached: bool = False


@dataclass
class Schedule:
    """When queued work is done, beyond what is asked for: `haste` 0 never, 1 at once, between by chance."""

    haste: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    streams: list[LateStream] = field(default_factory=list)
    without: frozenset[Kind] = frozenset()
    waits: set[Kind] = field(default_factory=set)
    made: Counter[str] = field(default_factory=Counter)
    """What was allocated: memory, host, stream, event, graph."""

    def turn(self) -> None:
        """The host has done something: the device may go on meanwhile."""
        while self.streams and self.chance.random() < self.haste:
            ready = [stream for stream in self.streams if stream.is_ready()]
            if not ready:
                return
            self.chance.choice(ready).step()

    def finish(self) -> None:
        """All that is queued."""
        while ready := [stream for stream in self.streams if stream.is_ready()]:
            self.chance.choice(ready).step()
        assert not any(stream.queue for stream in self.streams), "streams wait for each other for ever"


class LateEvent:
    def __init__(self, schedule: Schedule, name: str) -> None:
        self.schedule, self.name = schedule, name
        self.mark: Mark | None = None

    def synchronize(self) -> None:
        self.schedule.waits.add(("host", self.name))
        if ("host", self.name) not in self.schedule.without and self.mark is not None:
            self.mark.stream.reach(self.mark)
        self.schedule.turn()


class LateStream:
    """Work, marks to be reached, and marks of others to be waited for, in their order."""

    def __init__(self, schedule: Schedule, name: str) -> None:
        self.schedule, self.name = schedule, name
        self.queue: deque[Work | Mark] = deque()
        self.done = 0
        schedule.streams.append(self)

    def submit(self, work: Work) -> None:
        self.queue.append(work)
        self.schedule.turn()

    def record(self, event: LateEvent) -> None:
        event.mark = Mark(self)
        self.queue.append(event.mark)
        self.schedule.turn()

    def wait(self, event: LateEvent) -> None:
        self.schedule.waits.add((self.name, event.name))
        if (self.name, event.name) not in self.schedule.without and event.mark is not None:
            self.queue.append(event.mark)
        self.schedule.turn()

    def is_ready(self) -> bool:
        head = self.queue[0] if self.queue else None
        return head is not None and (not isinstance(head, Mark) or head.stream is self or head.reached)

    def step(self) -> None:
        head = self.queue.popleft()
        if not isinstance(head, Mark):
            head()
            self.done += 1
        elif head.stream is self:
            head.reached = True

    def reach(self, mark: Mark) -> None:
        """Do what is needed for that mark, and nothing else."""
        while not mark.reached:
            head = self.queue[0]
            if isinstance(head, Mark) and head.stream is not self:
                head.stream.reach(head)
            self.step()


class LateDevice:
    """`engine.station.Device`; `seconds_for` answers for the clock: by default every lap is ever slower."""

    place = torch.device("cpu")

    def __init__(self, schedule: Schedule, seconds_for: Callable[[int], float] = float) -> None:
        self.schedule, self.seconds_for = schedule, seconds_for
        self.laps = 0

    def host(self, size: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self.schedule.made["host"] += 1
        return torch.zeros(size, dtype=dtype)

    def memory(self, size: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self.schedule.made["memory"] += 1
        return torch.zeros(size, dtype=dtype)

    def stream(self) -> LateStream:
        name = ("upload", "compute", "download")[self.schedule.made["stream"] % 3]
        self.schedule.made["stream"] += 1
        return LateStream(self.schedule, name)

    def event(self) -> LateEvent:
        name = ("uploaded", "computed", "downloaded")[self.schedule.made["event"] % 3]
        self.schedule.made["event"] += 1
        return LateEvent(self.schedule, name)

    def capture(self, work: Work, stream: LateStream) -> Work:
        self.schedule.made["graph"] += 1
        work()
        return work

    def seconds(self, work: Work, stream: LateStream) -> float:
        self.laps += 1
        return self.seconds_for(self.laps)

    def settle(self) -> None:
        self.schedule.finish()
