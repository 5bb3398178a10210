"""What a run says while it goes on: values for whoever draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """The engine is open; `s_per_frame` is what a frame will take, estimated from a small picture."""

    model: str
    device: str
    frames: int | None
    s_per_frame: float | None
    done: int = 0  # frames of earlier runs


@dataclass(frozen=True, slots=True)
class Progress:
    """One more frame stands in the file; `time_s` is its presentation time."""

    frames: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something the person should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """No frame moves until the next event, and why."""

    text: str


Event = Started | Progress | Note | Waiting
Tell = Callable[[Event], None]
