"""Counting: fates, and two rates that are never mixed."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from vdeblur.frame import Component, Fate, Frame, PlaneLayout
from vdeblur.ledger import Ledger

LAYOUT = PlaneLayout("gray", 4, 2, "gray", 8, (1, 1), (Component(0),), "full", "rgb")


def frame(index: int, fate: Fate) -> Frame:
    return Frame((np.zeros((2, 4), np.uint8),), LAYOUT, index * 40, Fraction(1, 1000), 40, index, None, fate)


def test_rates_count_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 14.0, 15.0, 16.0, 20.0])
    monkeypatch.setattr("vdeblur.ledger.time.perf_counter", lambda: next(clock))
    ledger = Ledger(started_s=0.0)
    for index, fate in enumerate([Fate.DEBLURRED, Fate.REDONE, Fate.DEBLURRED, Fate.REFUSED]):
        ledger.note(frame(index, fate))
    ledger.close()
    assert ledger.true_fps == pytest.approx(4 / 20)  # from opening (0) to closing (20)
    assert ledger.steady_fps == pytest.approx(3 / 6)  # between the first frame (10) and the last (16)
    totals = ledger.totals()
    assert totals["frames"] == 4
    assert totals["fates"] == {
        "deblurred": 2,
        "redone in float32": 1,
        "passed (refused by the guard)": 1,
    }


def test_a_frame_whose_planes_do_not_fit_its_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="4x2"):
        dataclasses.replace(frame(0, Fate.SOURCE), planes=(np.zeros((4, 4), np.uint8),))


def test_a_long_run_is_shown_in_a_notebook_in_a_few_words() -> None:
    ledger = Ledger()
    ledger.restore((number, Fate.PASSED) for number in range(10_000))
    assert len(repr(ledger)) < 500
