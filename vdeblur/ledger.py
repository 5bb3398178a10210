"""The one place where frames and seconds are counted.

True fps is frames written over wall time from opening to closing the files.  Steady fps, between the
first and the last frame written, is another, named thing.  Owned by the job; `note` is called by the
writing thread only, `spend` by any thread.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vdeblur.frame import Fate, Frame

_FATES = tuple(Fate)


@dataclass(slots=True)
class Ledger:
    """What became of every frame (17 bytes each), seconds by stage, and the rates that follow from them."""

    started_s: float = field(default_factory=time.perf_counter)
    ended_s: float | None = None
    first_frame_s: float | None = None
    last_frame_s: float | None = None
    fates: Counter[Fate] = field(default_factory=Counter)
    times: array[int] = field(default_factory=lambda: array("q"), repr=False)  # pts of the frames, in order
    stages_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    looks: bytearray = field(
        default_factory=bytearray, repr=False
    )  # of the latest frames (`video.looks`), where wanted
    restored: int = 0  # frames at the front that an earlier, interrupted run has done
    _fates: bytearray = field(default_factory=bytearray, repr=False)  # places in `Fate`
    _written_s: array[float] = field(default_factory=lambda: array("d"), repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, frame: Frame) -> None:
        """A frame was handed to the encoder."""
        now = time.perf_counter()
        if self.first_frame_s is None:
            self.first_frame_s = now
        self.last_frame_s = now
        self._add(frame.pts, frame.fate, now - self.started_s)

    def restore(self, rows: Iterable[tuple[int, Fate]]) -> None:
        """Times and fates of the frames that an earlier run has done, before the first is noted."""
        for pts, fate in rows:
            self._add(pts, fate, 0.0)
            self.restored += 1

    def _add(self, pts: int, fate: Fate, written_s: float) -> None:
        self.fates[fate] += 1
        self.times.append(pts)
        self._fates.append(_FATES.index(fate))
        self._written_s.append(written_s)

    @property
    def rows(self) -> list[tuple[int, int, Fate, float]]:
        """Of each frame: number, pts, fate, seconds until it was written."""
        found = zip(self.times, self._fates, self._written_s, strict=True)
        return [(number, pts, _FATES[fate], s) for number, (pts, fate, s) in enumerate(found)]

    @contextmanager
    def spend(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage ("decode", "engine", "encode", ...); stages overlap."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.stages_s[stage] = self.stages_s.get(stage, 0.0) + time.perf_counter() - begin

    def timed(self, frames: Iterable[Frame], stage: str) -> Iterator[Frame]:
        """The frames; the time until each of them comes is spent on a stage."""
        source = iter(frames)
        while True:
            with self.spend(stage):
                frame = next(source, None)
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """All files are closed: the clock of true fps stops."""
        self.ended_s = time.perf_counter()

    @property
    def frames(self) -> int:
        return len(self.times)

    @property
    def wall_s(self) -> float:
        return (self.ended_s or time.perf_counter()) - self.started_s

    @property
    def true_fps(self) -> float:
        """Frames of this run over wall time from opening to closing the files."""
        return (self.frames - self.restored) / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def steady_fps(self) -> float | None:
        """Rate between the first and the last frame written; None below two frames."""
        done = self.frames - self.restored
        if done < 2 or self.first_frame_s is None or self.last_frame_s is None:
            return None
        span = self.last_frame_s - self.first_frame_s
        return (done - 1) / span if span > 0 else None

    def totals(self) -> dict[str, Any]:
        """Plain values for a report: no rows."""
        return {
            "frames": self.frames,
            "frames_of_earlier_runs": self.restored,
            "fates": {str(fate): count for fate, count in self.fates.items()},
            "wall_s": round(self.wall_s, 3),
            "true_fps": round(self.true_fps, 3),
            "steady_fps": None if self.steady_fps is None else round(self.steady_fps, 3),
            "stages_s": {stage: round(seconds, 3) for stage, seconds in self.stages_s.items()},
            "notes": list(self.notes),
        }
