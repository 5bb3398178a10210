"""Times of frames: integers in, strictly increasing integers and true durations out.

Times that are already strictly increasing pass untouched.  Missing ones are made from the rate; those that
repeat or go backwards are moved as little as possible; a clock that starts anew (a jump back of more than a
second) is continued.  A frame's duration is the next time minus its own, because containers lie about it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

T = TypeVar("T")

MADE = "frames without a time: times are made from the frame rate"
MOVED = "times of frames repeat or go backwards: moved so that they increase"
RESTARTED = "the clock of the stream starts anew in the middle: its times are continued"


@dataclass(frozen=True, slots=True)
class Stamped(Generic[T]):
    """Something with the time that its container gives it; `duration` 0 where nothing is known."""

    item: T
    pts: int | None
    duration: int


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """The same with a time and duration that can be relied on."""

    item: T
    pts: int
    duration: int


def paced(
    frames: Iterable[Stamped[T]], time_base: Fraction, rate: Fraction | None, warnings: list[str]
) -> Iterator[Timed[T]]:
    """Give every frame its time, one frame late (a frame's duration needs its successor)."""
    step = 1 / ((rate or Fraction(25)) * time_base)  # exact, so that made times do not drift
    held: Timed[T] | None = None  # has its time, waits for its successor's
    waiting: Stamped[T] | None = None
    shift = 0  # added to all times after the clock started anew
    made_from: tuple[int, int] | None = None  # (time, count of frames since) in a run of made times
    previous = 0
    for following in itertools.chain(frames, [None]):
        frame, waiting = waiting, following
        if frame is None:
            continue
        last = None if held is None else held.pts
        if frame.pts is None:
            _once(warnings, MADE)
            # Without a time, its duration is no better.
            frame = Stamped(frame.item, None, max(1, round(step)))
            begin, count = made_from or ((0, 0) if last is None else (last, 1))
            pts = begin + round(count * step)
            made_from = (begin, count + 1)
        else:
            made_from = None
            if last is not None and (last - frame.pts - shift) * time_base > 1:
                _once(warnings, RESTARTED)
                shift = last + max(1, round(step)) - frame.pts
            pts = frame.pts + shift
            coming = None if following is None or following.pts is None else following.pts + shift
            if following is not None and coming is not None and _swapped(coming, pts, last, time_base):
                # The right times on the wrong frames, as AVI gives them with B-frames.
                _once(warnings, MOVED)
                pts, waiting = coming, Stamped(following.item, frame.pts, following.duration)
            elif last is not None and pts <= last:
                _once(warnings, MOVED)
                room = step if coming is None or coming <= last else min(step, Fraction(coming - last, 2))
                pts = last + max(1, int(room))
        if last is not None and pts <= last:
            pts = last + 1
        if held is not None:
            previous = pts - held.pts
            yield Timed(held.item, held.pts, previous)
        held = Timed(frame.item, pts, frame.duration)
    if held is not None:
        # The last frame's own claim; else what its predecessor had; else one step of the rate.
        yield Timed(held.item, held.pts, held.duration or previous or max(1, round(step)))


def _swapped(coming: int, pts: int, last: int | None, time_base: Fraction) -> bool:
    """Whether the next frame's time belongs here; one far back at the very start is another clock."""
    if coming >= pts:
        return False
    return coming > last if last is not None else (pts - coming) * time_base <= 1


def _once(warnings: list[str], text: str) -> None:
    if text not in warnings:
        warnings.append(text)
