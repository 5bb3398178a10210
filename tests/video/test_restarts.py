"""Packets of other streams where the clock of a file starts anew, in whatever order they come to it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vdeblur.video.restarts import Restarts

TICK = Fraction(1, 1000)
PICTURES, SOUND, TEXT = 0, 1, 2


@dataclass
class Packet:
    """What is looked at of FFmpeg's."""

    stream_index: int
    dts: int | None
    pts: int | None = None
    time_base: Fraction = TICK

    def __post_init__(self) -> None:
        self.pts = self.dts if self.pts is None else self.pts


def through(*packets: tuple[int, int]) -> list[tuple[int, int | None]]:
    """Streams and times that come out; pictures every 40 ms, ten of them before the clock starts anew."""
    restarts = Restarts(PICTURES, TICK, Fraction(25))
    out = [made for packet in packets for made in restarts.through(Packet(*packet))]
    return [(packet.stream_index, packet.dts) for packet in (*out, *restarts.rest())]


BEFORE = [(PICTURES, 5000 + 40 * n) for n in range(10)]
AFTER = [(PICTURES, 1000 + 40 * n) for n in range(10)]
MOVED = 5400 - 1000  # the first picture follows the last one


def test_sound_is_moved_like_the_pictures_whoever_begins() -> None:
    first, last, new = (SOUND, 5360), (SOUND, 5380), (SOUND, 1010)
    meant = [first, last, (SOUND, 1010 + MOVED)]
    assert through(*BEFORE, first, last, *AFTER, new) == meant
    assert through(*BEFORE, first, last, new, *AFTER) == meant
    assert through(*BEFORE, first, AFTER[0], last, new, *AFTER[1:]) == meant


def test_a_stream_of_few_packets_may_come_later_on_the_new_clock() -> None:
    assert through(*BEFORE, (TEXT, 700), *AFTER, (TEXT, 1300)) == [(TEXT, 700), (TEXT, 1300 + MOVED)]
    assert through(*BEFORE, *AFTER, (TEXT, 1300)) == [(TEXT, 1300 + MOVED)]


def test_a_stream_whose_clock_alone_starts_anew_is_left_as_it_is() -> None:
    assert through(*BEFORE, (SOUND, 5380), (SOUND, 10)) == [(SOUND, 5380), (SOUND, 10)]
    many = [(SOUND, 10 + n) for n in range(1500)]
    assert through(*BEFORE, (SOUND, 5380), *many, *BEFORE)[1:] == many


def test_sound_that_goes_on_longer_is_followed_closely() -> None:
    out = through(*BEFORE, (SOUND, 5380), (SOUND, 5460), *AFTER, *((SOUND, 1000 + 20 * n) for n in range(5)))
    assert [when for _, when in out] == [5380, 5460, 5461, 5462, 5463, 5464, 5480]


def test_a_clock_without_a_restart_moves_nothing() -> None:
    woven = [
        p for n in range(50) for p in ((PICTURES, 40 * n), (SOUND, 40 * n), (TEXT, max(0, 40 * n - 990)))
    ]
    assert through(*woven) == [p for p in woven if p[0] != PICTURES]
