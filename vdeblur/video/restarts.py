"""Where the clock of a file starts anew (recordings put one behind the other): the other streams go on with
the pictures, whose times `pace` continues.

Every stream passes such a place for itself, a little before or after the pictures.  What comes before them is
held back until they have told by how much they are moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

CONCATENATED = frozenset({"mpegts", "mpeg", "hls"})
"""FFmpeg's names of the containers whose files can be put one behind the other, or are."""
BACK_S = 1  # a step back by more is another clock, as in `pace`
_HELD = 1000  # packets; a stream whose clock alone starts anew is left as it is
_CLOSE = Fraction(1, 1000)  # no muxer takes two packets of a stream at the same time
_NOTICEABLE = Fraction(1, 10)  # seconds


class Restarts:
    """Takes all packets in the order of the file and gives those of the other streams, moved.

    shift     seconds that are added to the times of the pictures now
    warnings  sentences
    """

    def __init__(self, video: int, tick: Fraction, rate: Fraction | None) -> None:
        self._video, self._tick = video, tick
        self._step = max(1, round(1 / ((rate or Fraction(25)) * tick)))
        self._shifts = [Fraction(0)]  # of the file's parts, as far as the pictures have come
        self._top: int | None = None  # latest time of a picture, continued
        self._raw: dict[int, Fraction] = {}  # stream -> its latest time in the file
        self._part: dict[int, int] = {}  # stream -> the part that it has come to
        self._last: dict[int, Fraction] = {}  # stream -> its latest time, continued
        self._said: set[tuple[int, Fraction]] = set()
        self._held: list[tuple[Any, Fraction]] = []  # packets and their times
        self.warnings: list[str] = []

    @property
    def shift(self) -> Fraction:
        return self._shifts[-1]

    def through(self, packet: Any) -> Iterator[Any]:
        """The packets of other streams that are known with this one."""
        index = packet.stream_index
        stamp = packet.dts if packet.dts is not None else packet.pts
        when = None if stamp is None else stamp * Fraction(packet.time_base)
        if index == self._video:
            if when is not None and packet.pts is not None and self._picture(packet.pts, when):
                yield from self.rest()
            return
        if when is None:
            yield packet
            return
        self._place(index, when)
        if self._part[index] < len(self._shifts):
            yield self._moved(packet, when)
            return
        self._held.append((packet, when))
        if len(self._held) > _HELD:
            yield from self.rest()

    def rest(self) -> Iterator[Any]:
        """What was held back; unmoved where the pictures have not come to its part."""
        held, self._held = self._held, []
        for packet, when in held:
            self._part[packet.stream_index] = len(self._shifts) - 1
            yield self._moved(packet, when)

    def _picture(self, pts: int, when: Fraction) -> bool:
        """Whether a part begins with this one, as `pace` will say of the picture."""
        last, self._raw[self._video] = self._raw.get(self._video, when), when
        moved = pts + int(self.shift / self._tick)
        top = self._top if self._top is not None else moved
        begins = last - when > BACK_S and (top - moved) * self._tick > BACK_S
        if begins:
            moved = top + self._step
            self._shifts.append((moved - pts) * self._tick)
        self._top = max(top, moved)
        return begins

    def _place(self, index: int, when: Fraction) -> None:
        """Find out which part a packet belongs to."""
        newest = len(self._shifts) - 1
        last, part = self._raw.get(index), self._part.get(index, newest)
        if last is not None and last - when > BACK_S:
            part = min(part + 1, newest + 1)
        elif last is not None and part < newest and abs(when - self._raw[self._video]) < abs(when - last):
            part = newest  # a stream of few packets may begin later in the new part than it ended in the old
        self._raw[index], self._part[index] = when, part

    def _moved(self, packet: Any, when: Fraction) -> Any:
        index, tick = packet.stream_index, Fraction(packet.time_base)
        shift = self._shifts[self._part[index]]
        if not shift:
            self._last[index] = when
            return packet
        # Sound of the part before may go on behind its last picture.
        last = self._last.get(index)
        begins = when + shift if last is None else max(when + shift, last + _CLOSE)
        if begins - when - shift > _NOTICEABLE and (index, shift) not in self._said:
            self._said.add((index, shift))
            self.warnings.append(
                f"stream {index} at {float(begins):.2f} s: {float(begins - when - shift):.2f} s are crowded "
                "together, as the recording before goes on longer than its pictures"
            )
        self._last[index] = begins
        moved = round((begins - when) / tick)
        packet.pts = None if packet.pts is None else packet.pts + moved
        packet.dts = None if packet.dts is None else packet.dts + moved
        return packet
