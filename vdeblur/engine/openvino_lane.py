"""Frames through OpenVINO's models, several at a time, in order.

For files (throughput) each of a few streams has threads of its own and computes one frame, so that a core
never waits for another; for live pictures (latency) all threads work on the one frame there is.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from vdeblur.engine import guard, shortage, tiles
from vdeblur.engine.budget import free_bytes
from vdeblur.engine.lane import Step
from vdeblur.engine.openvino_request import Pieces, Request
from vdeblur.frame import Fate, Frame, PlaneLayout

if TYPE_CHECKING:
    from vdeblur.engine.openvino import OpenVinoBackend

STREAMS = 4
"""Frames computed at the same time, at most; each needs memory of its own."""


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
        self._careful: Pieces | None = None
        self._slots: list[Request | Pieces] = []
        self._open()

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout with the difference added, in new arrays, and their fate."""
        flying: deque[tuple[Frame, Request | Pieces]] = deque()
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
        """See `lane.Lane`: three separate models here, though a frame goes through one."""
        parts = Pieces(self._backend, self.layout, self.grid, self._strength)
        parts.start(frame)
        words = parts.words
        rgb, difference = parts.rgb.copy(), parts.difference.copy()
        return {
            "upload": Step(lambda: parts.staging.load(frame)),
            "planes to RGB": Step(lambda: parts.front(words, share_outputs=True)),
            "network": Step(lambda: parts.network(rgb)),
            "residual": Step(lambda: parts.back([*words, difference], share_outputs=True)),
            "download": Step(lambda: parts.staging.store(frame, parts.wait()[:-1])),
        }

    def close(self) -> None:
        """Compiled models and their memory go; nothing is in flight here."""
        self._slots, self._careful = [], None

    def _open(self) -> None:
        """For the grid, or the first smaller one that memory bears."""
        self._slots = shortage.going_on(self._compiled, self._make_less)

    def _make_less(self) -> None:
        """After memory ran out: one frame at a time, then tiles; VdeblurError where there are no smaller."""
        self.close()
        if self.grid.is_whole and not self._latency:
            self._latency = True
            self._backend.went_short("out of memory: going on with one frame at a time")
            return
        self.grid = self._backend.smaller(self.grid)

    def _compiled(self) -> list[Request | Pieces]:
        if not self.grid.is_whole:
            return [Pieces(self._backend, self.layout, self.grid, self._strength)]
        streams = 1 if self._latency else self._streams()
        compiled = self._backend.compiled_frame(self.layout, self.grid, self._strength, streams)
        # One more than streams: it is filled and emptied while the others compute.
        return [Request(compiled, self.layout) for _ in range(1 if self._latency else streams + 1)]

    def _next(
        self,
        flying: deque[tuple[Frame, Request | Pieces]],
        free: deque[Request | Pieces],
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
        def make_less() -> None:
            self._make_less()
            self._open()

        make_less()
        return shortage.going_on(lambda: [self._alone(frame) for frame in frames], make_less)

    def _alone(self, frame: Frame) -> Frame:
        slot = self._slots[0]
        slot.start(frame)
        return self._landed(frame, slot)

    def _streams(self) -> int:
        """As many as threads can feed and half of the free memory takes."""
        threads = self._backend.threads or 1
        needed = self._backend.bytes_per_px() * tiles.OVERHEAD * self.grid.height * self.grid.width
        return max(1, min(STREAMS, threads, int(free_bytes("cpu") / 2 / needed)))

    def _landed(self, frame: Frame, slot: Request | Pieces) -> Frame:
        *words, figures = slot.wait()
        if guard.within(figures.tolist()):
            return dataclasses.replace(frame, planes=slot.staging.store(frame, words), fate=Fate.DEBLURRED)
        if self._backend.choice.precision == "fp32":
            return dataclasses.replace(frame, fate=Fate.REFUSED)
        if self._careful is None:
            self._careful = Pieces(self._backend, self.layout, self.grid, self._strength, careful=True)
        self._careful.start(frame)
        *words, figures = self._careful.wait()
        if guard.within(figures.tolist()):
            planes = self._careful.staging.store(frame, words)
            return dataclasses.replace(frame, planes=planes, fate=Fate.REDONE)
        return dataclasses.replace(frame, fate=Fate.REFUSED)
