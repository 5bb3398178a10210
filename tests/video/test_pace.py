"""Times of frames: untouched where they are good, strictly increasing always, durations that add up."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from vdeblur.video import pace
from vdeblur.video.pace import Stamped, paced

TICK = Fraction(1, 90000)
times = st.lists(st.none() | st.integers(-(10**9), 10**9), min_size=1, max_size=40)
rates = st.none() | st.fractions(min_value=1, max_value=240, max_denominator=1001)


def run(
    pts: list[int | None], rate: Fraction | None = Fraction(25), own: int = 0, tick: Fraction = TICK
) -> tuple[list[int], list[int], list[str]]:
    warnings: list[str] = []
    out = list(paced((Stamped(n, p, own) for n, p in enumerate(pts)), tick, rate, warnings))
    assert [timed.item for timed in out] == list(range(len(pts)))  # every frame once, in order
    return [timed.pts for timed in out], [timed.duration for timed in out], warnings


@given(times, rates, st.integers(0, 10000))
def test_always_strictly_increasing_with_durations_that_add_up(
    pts: list[int | None], rate: Fraction | None, own: int
) -> None:
    out, durations, _ = run(pts, rate, own)
    assert all(b > a for a, b in itertools.pairwise(out))
    assert durations[:-1] == [b - a for a, b in itertools.pairwise(out)]
    assert durations[-1] > 0


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40, unique=True).map(sorted), rates)
def test_good_times_pass_untouched_and_unmentioned(pts: list[int], rate: Fraction | None) -> None:
    out, _, warnings = run(list(pts), rate)
    assert out == pts
    assert warnings == []


@given(st.integers(1, 200), st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)]))
def test_made_times_do_not_drift(count: int, rate: Fraction) -> None:
    out, durations, warnings = run([None] * count, rate)
    assert out == [round(n / rate / TICK) for n in range(count)]
    assert durations[-1] == max(1, round(1 / rate / TICK))
    assert warnings == [pace.MADE]


@given(st.permutations(range(3)), st.integers(0, 50))
def test_a_repair_stays_near(order: list[int], start: int) -> None:
    """Three times in wrong order: nothing after them is moved."""
    good = [(start + n) * 3600 for n in range(12)]
    bad = [*good[:4], *(good[4 + k] for k in order), *good[7:]]
    out, _, _ = run(bad)
    assert out[:4] == good[:4]
    assert all(abs(a - b) <= 2 * 3600 for a, b in zip(out, good, strict=True))
    assert out[-3:] == good[-3:]


def test_times_on_the_wrong_frames_are_put_right() -> None:
    """AVI with packed B-frames: the times of a whole group are there, in coding order."""
    out, _, warnings = run([1, 2, 4, 3, 5, 7, 6, 8, 10, 9, 12, 11, 13], tick=Fraction(1001, 30000))
    assert out == list(range(1, 14))
    assert warnings == [pace.MOVED]


def test_repeated_times_go_between_their_neighbours() -> None:
    out, _, warnings = run([0, 3600, 3600, 7200, 10800])
    assert out == [0, 3600, 5400, 7200, 10800]
    assert warnings == [pace.MOVED]


def test_a_clock_that_starts_anew_is_continued() -> None:
    out, _, warnings = run([900000, 903600, 907200, 0, 3600, 7200])
    assert out == [900000, 903600, 907200, 910800, 914400, 918000]
    assert warnings == [pace.RESTARTED]


def test_one_missing_time_among_good_ones() -> None:
    out, _, warnings = run([0, 3600, None, 10800])
    assert out == [0, 3600, 7200, 10800]
    assert warnings == [pace.MADE]


def test_the_last_duration_is_its_own_else_the_one_before() -> None:
    assert run([0, 3600], own=1234)[1] == [3600, 1234]
    assert run([0, 3000])[1] == [3000, 3000]
    assert run([0])[1] == [3600]
