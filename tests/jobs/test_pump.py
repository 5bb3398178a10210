"""The hand-over between threads: order, bound, and an end from either side."""

from __future__ import annotations

import threading
import time

import pytest

from vdeblur.jobs.pump import Pump


def test_items_arrive_in_order_and_never_more_than_capacity_wait() -> None:
    pump: Pump[int] = Pump(3)
    most = 0
    handed = 0

    def produce() -> None:
        nonlocal handed
        for number in range(200):
            assert pump.put(number)
            handed += 1
        pump.end()

    thread = threading.Thread(target=produce)
    thread.start()
    got = []
    for item in pump:
        most = max(most, handed - len(got))
        got.append(item)
    thread.join()
    assert got == list(range(200))
    assert most <= 5  # three inside, one in each hand


def test_producer_stops_when_the_consumer_has_gone() -> None:
    pump: Pump[int] = Pump(2)
    answers: list[bool] = []

    def produce() -> None:
        while pump.put(0):
            answers.append(True)
        answers.append(False)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.05)
    pump.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert answers[-1] is False


def test_error_comes_after_the_items_before_it() -> None:
    pump: Pump[str] = Pump(4)
    pump.put("good")
    pump.end(OSError("broke off"))
    pump.end(ValueError("too late"))
    items = iter(pump)
    assert next(items) == "good"
    with pytest.raises(OSError, match="broke off"):
        next(items)


def test_error_is_not_raised_in_a_consumer_that_stopped() -> None:
    pump: Pump[str] = Pump(4)
    pump.end(OSError("broke off"))
    pump.stop()
    assert list(pump) == []
