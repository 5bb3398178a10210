"""The ladder of live pictures, on a machine whose every time is known: it finds its rung and stays there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdeblur.jobs.live.ladder import Goal, Ladder

COSTS = (8.0, 4.0, 2.0, 1.0, 0.5)


def drive(
    ladder: Ladder,
    seconds: float,
    cost_s: Callable[[int, float], float],
    *,
    source_fps: float = 30.0,
    begin: float = 0.0,
) -> list[tuple[float, int]]:
    """Play so many seconds; (time, rung) of every picture. `cost_s` says what a rung takes at a time."""
    now, seen = begin, []
    while now < begin + seconds:
        work = cost_s(ladder.rung, now)
        step = max(work, 1 / source_fps)
        now += step
        seen.append((now, ladder.rung))
        ladder.note(now, work, work + 0.5 / source_fps, source_fps)
    return seen


def changes(seen: list[tuple[float, int]]) -> int:
    return sum(a != b for (_, a), (_, b) in itertools.pairwise(seen))


@pytest.mark.parametrize(("unit_s", "rung"), [(0.004, 0), (0.010, 1), (0.02, 2), (0.04, 3), (0.07, 4)])
def test_it_ends_on_the_best_rung_that_holds_the_rate(unit_s: float, rung: int) -> None:
    for start in range(5):
        ladder = Ladder(COSTS, Goal(fps=20), start)
        seen = drive(ladder, 60, lambda n, _: COSTS[n] * unit_s)
        assert seen[-1][1] == rung, f"from {start}"


@pytest.mark.parametrize("goal", [Goal(fps=20), Goal(latency_s=0.1)], ids=str)
def test_a_slow_picture_now_and_then_is_no_reason_to_step_down(goal: Goal) -> None:
    ladder = Ladder(COSTS, goal, 1)
    count = 0

    def cost(rung: int, now: float) -> float:
        nonlocal count
        count += 1
        return COSTS[rung] * 0.01 * (8 if count % 25 == 0 else 1)

    assert changes(drive(ladder, 30, cost)) == 0


def test_slow_pictures_so_often_that_the_rate_is_missed_are() -> None:
    ladder = Ladder(COSTS, Goal(fps=20), 1)
    count = 0

    def cost(rung: int, now: float) -> float:
        nonlocal count
        count += 1
        return COSTS[rung] * 0.01 * (6 if count % 4 == 0 else 1)

    seen = drive(ladder, 30, cost)
    assert ladder.rung == 2  # 45 ms in the mean; 90 on the rung before
    assert changes(seen) <= 6


def test_a_machine_that_gets_slower_is_followed_within_two_seconds() -> None:
    ladder = Ladder(COSTS, Goal(fps=20))
    drive(ladder, 5, lambda n, _: COSTS[n] * 0.005)
    seen = drive(ladder, 2, lambda n, _: COSTS[n] * 0.04, begin=5)
    assert ladder.rung == 3
    assert changes(seen) <= 2


def test_and_goes_up_again_when_there_is_room() -> None:
    ladder = Ladder(COSTS, Goal(fps=20), 4)
    drive(ladder, 30, lambda n, _: COSTS[n] * 0.005)
    assert ladder.rung == 0


def test_between_two_rungs_it_does_not_go_to_and_fro() -> None:
    """The rung above looks cheap from below and is not: tries get rarer, doubling up to once a minute."""
    ladder = Ladder(COSTS, Goal(fps=20), 3)
    seen = drive(ladder, 300, lambda n, _: 0.018 if n == 3 else 0.08 if n < 3 else 0.01)
    assert changes(seen) <= 2 * 12
    late = [item for item in seen if item[0] > 200]
    assert changes(late) <= 2 * 3
    assert sum(rung == 3 for _, rung in late) > 0.9 * len(late)


def test_a_slow_source_lowers_the_goal() -> None:
    ladder = Ladder(COSTS, Goal(fps=60), 0)
    drive(ladder, 10, lambda n, _: COSTS[n] * 0.01, source_fps=10)
    assert ladder.rung == 0


def test_an_age_is_held_too() -> None:
    ladder = Ladder(COSTS, Goal(latency_s=0.1), 0)
    drive(ladder, 30, lambda n, _: COSTS[n] * 0.02)
    assert ladder.rung == 1  # 80 ms and half an interval of the source; the one above takes 160


def test_a_rung_that_is_closed_is_stepped_over_both_ways() -> None:
    ladder = Ladder(COSTS, Goal(fps=20), 0)
    drive(ladder, 5, lambda n, _: COSTS[n] * 0.02)
    assert ladder.rung == 2
    ladder.close(2, 0)
    assert ladder.rung == 0
    drive(ladder, 5, lambda n, _: COSTS[n] * 0.02, begin=5)
    assert ladder.rung == 3
    seen = drive(ladder, 60, lambda n, _: COSTS[n] * 0.005, begin=10)
    assert {rung for _, rung in seen} == {3, 1, 0}
    ladder.forget(0)  # the source has changed
    drive(ladder, 5, lambda n, _: COSTS[n] * 0.02, begin=70)
    assert ladder.rung == 2


def test_on_the_last_rung_it_does_what_it_can() -> None:
    ladder = Ladder(COSTS, Goal(fps=20), 0)
    assert drive(ladder, 20, lambda n, _: 1.0)[-1][1] == 4


@settings(deadline=None, max_examples=40)
@given(
    costs=st.lists(st.floats(0.1, 10), min_size=1, max_size=6).map(lambda c: tuple(sorted(c, reverse=True))),
    times=st.lists(st.tuples(st.floats(0.0005, 2), st.floats(0.0005, 5)), max_size=120),
    start=st.integers(0, 5),
)
def test_whatever_is_measured_the_rung_exists(
    costs: tuple[float, ...], times: list[tuple[float, float]], start: int
) -> None:
    ladder = Ladder(costs, Goal(fps=25, latency_s=0.1), min(start, len(costs) - 1))
    now = 0.0
    for work, age in times:
        now += work
        assert 0 <= ladder.note(now, work, age, None) < len(costs)
