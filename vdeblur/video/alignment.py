"""Two rows of frame times laid side by side: which are the same, which are missing, which are too many.

Whole numbers throughout; a frame costs eight bytes.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

NO_TIME = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Times:
    """Times of pictures in order of presentation, in ticks of so many seconds; NO_TIME for none."""

    ticks: array[int]
    tick: Fraction

    @classmethod
    def of(cls, ticks: Iterable[int], tick: Fraction) -> Times:
        return cls(array("q", ticks), tick)

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def increase(self) -> bool:
        """Whether every picture has a time, later than the one before."""
        return NO_TIME not in self.ticks and all(a < b for a, b in itertools.pairwise(self.ticks))

    def at(self, number: int) -> Fraction:
        """Seconds."""
        return self.ticks[number] * self.tick


@dataclass(frozen=True, slots=True)
class Matched:
    """`shift` is added to all old times; of what is missing (old clock) or too many: how many, the first,
    and whether that goes on to the end."""

    shift: Fraction
    count: int
    missing: int = 0
    first_missing: Fraction | None = None
    tail: bool = False
    extra: int = 0
    first_extra: Fraction | None = None

    @property
    def whole(self) -> bool:
        return not (self.missing or self.extra)


def matched(old: Times, new: Times, tolerance: Fraction, likely: Fraction | None = None) -> Matched:
    """The way in which most of the new times are old ones, moved by a constant.

    Damage may have hit either end, so several constants are tried: none, the likely one (by which other
    streams were moved), and those of the first and the last frame.
    """
    best = _side_by_side(old, new, Fraction(0), tolerance)
    if not len(old) or not len(new):
        return best
    for shift in (likely, new.at(0) - old.at(0), new.at(-1) - old.at(-1)):
        if best.whole:
            break
        if shift is None:
            continue
        tried = _side_by_side(old, new, shift, tolerance)
        if tried.count > best.count:
            best = tried
    return best


def _side_by_side(old: Times, new: Times, shift: Fraction, tolerance: Fraction) -> Matched:
    # One small unit in which all are whole numbers: fractions would be slow for a long film.
    unit = math.lcm(old.tick.denominator, new.tick.denominator, shift.denominator, tolerance.denominator)
    scale, other_scale, moved, near = (int(v * unit) for v in (old.tick, new.tick, shift, tolerance))
    xs, ys = old.ticks, new.ticks
    i = j = count = missing = extra = 0
    first_missing = first_extra = None
    while i < len(xs) or j < len(ys):
        if i == len(xs):
            apart = -1 - near
        elif j == len(ys):
            apart = 1 + near
        else:
            apart = ys[j] * other_scale - moved - xs[i] * scale
        if abs(apart) <= near:
            count, i, j = count + 1, i + 1, j + 1
        elif apart > 0:
            first_missing = i if first_missing is None else first_missing
            missing, i = missing + 1, i + 1
        else:
            first_extra = j if first_extra is None else first_extra
            extra, j = extra + 1, j + 1
    return Matched(
        shift,
        count,
        missing,
        None if first_missing is None else old.at(first_missing),
        first_missing is not None and missing == len(xs) - first_missing,
        extra,
        None if first_extra is None else new.at(first_extra) - shift,
    )
