"""PCM has no packets of its own: every container cuts it as it likes.  Here it is cut anew, always alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

SAMPLES = 1024
_NEAR = Fraction(1, 200)  # seconds by which times of packets may be rounded without a gap between them
_WITH_HEADS = frozenset({"pcm_bluray", "pcm_dvd"})  # packets after all


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a sound: its bytes, when it begins and how long it lasts (seconds), whether it is hidden."""

    data: bytes
    begins: Fraction
    lasts: Fraction
    hidden: bool


class Pieces:
    """Pieces of `SAMPLES` from wherever the sound begins or goes on behind a gap."""

    def __init__(self, sample_bytes: int, rate: int) -> None:
        self._sample, self._rate = sample_bytes, rate
        self._held = bytearray()
        self._end = Fraction(0)  # of what is held, seconds
        self._hidden = False

    @classmethod
    def of(cls, stream: Any) -> Pieces | None:
        """For a stream of plain PCM, None for any other."""
        context = stream.codec_context
        if stream.type != "audio" or context is None:
            return None
        name = context.codec.canonical_name
        if not name.startswith("pcm_") or name in _WITH_HEADS or not context.sample_rate:
            return None
        bits = int("".join(filter(str.isdigit, name)) or 8)  # alaw, mulaw: 8
        return cls(context.channels * bits // 8, context.sample_rate)

    def through(self, packet: Any) -> Iterator[Piece]:
        """What is whole with this packet."""
        when = self._end if packet.pts is None else packet.pts * Fraction(packet.time_base)
        if self._held and (abs(when - self._end) > _NEAR or packet.is_discard != self._hidden):
            yield from self.rest()
        self._hidden = packet.is_discard
        self._held += memoryview(packet)
        self._end = when + self._lasting(packet.size)
        while len(self._held) >= SAMPLES * self._sample:
            yield self._piece(SAMPLES * self._sample)

    def rest(self) -> Iterator[Piece]:
        """What is left, at the end or before a gap."""
        if self._held:
            yield self._piece(len(self._held))

    def _piece(self, size: int) -> Piece:
        begins = self._end - self._lasting(len(self._held))
        data = bytes(self._held[:size])
        del self._held[:size]
        return Piece(data, begins, self._lasting(size), self._hidden)

    def _lasting(self, size: int) -> Fraction:
        return Fraction(size, self._sample * self._rate)
