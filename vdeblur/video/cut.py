"""A range of the source: which packets and chapters of the other streams belong to it, on its own clock.

Sound and data begin with their first whole packet in the range, copied pictures with their first key frame,
subtitles with what is on screen (those that state no length with the next one).  Without a range everything
passes as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Protocol

from vdeblur.video.source import is_cover

_NOTICEABLE = Fraction(1, 10)  # seconds
_BEFORE = 1  # a range begins where it was asked for, or less than one tick of its pictures before


class Reads(Protocol):
    """What is needed of a reader: its open container, the range asked for, and the seconds taken off."""

    span: tuple[Fraction | None, Fraction | None]

    @property
    def shift(self) -> Fraction: ...
    @property
    def container(self) -> Any: ...


class Cut:
    """`is_far_outside` is for the reading thread, all else for the writing one, after the first frame."""

    def __init__(self, reader: Reads, warnings: list[str]) -> None:
        self._reader, self._warnings = reader, warnings
        self._keyed: set[int] = set()  # copied video streams that have begun

    def is_far_outside(self, packet: Any) -> bool:
        """Whether a packet cannot belong to the range, before it is known where exactly that begins."""
        begin, end = self._reader.span
        if packet.pts is None or is_cover(packet.stream):
            return False
        begins, lasts = packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base
        if end is not None and begins >= end:
            return True
        return begin is not None and begins + lasts < begin - _BEFORE

    def admit(self, packet: Any) -> bool:
        """Move a packet to the range's clock; False for one that lies outside."""
        shift, end = self._reader.shift, self._reader.span[1]
        if self._reader.span == (None, None):
            return True
        if is_cover(packet.stream):
            return True
        if packet.pts is None:
            return packet.dts is None
        tick, stream = packet.time_base, packet.stream
        begins, lasts = packet.pts * tick, (packet.duration or 0) * tick
        if end is not None and begins >= end:
            return False
        if stream.type == "subtitle" and begins + lasts > shift:
            # A line that is on screen when the range begins or ends is shown for its part of it.
            stops = begins + lasts if end is None else min(begins + lasts, end)
            begins = max(begins, shift)
            packet.pts = packet.dts = round((begins - shift) / tick)
            packet.duration = round((stops - begins) / tick)
            return True
        if begins < shift or not self._begun(packet, begins - shift):
            return False
        packet.pts -= round(shift / tick)
        if packet.dts is not None:
            packet.dts -= round(shift / tick)
        return True

    def chapters(self) -> list[Any]:
        """The source's chapters; those of a range cut to it and moved."""
        shift, end = self._reader.shift, self._reader.span[1]
        found = []
        for chapter in self._reader.container.chapters():
            tick = Fraction(chapter["time_base"])
            first, last = chapter["start"], chapter["end"]
            if self._reader.span != (None, None):
                zero = round(shift / tick)
                last = (last if end is None else min(last, round(end / tick))) - zero
                first = max(first - zero, 0)
                if last <= first:
                    continue
            found.append({**chapter, "start": first, "end": last})
        return found

    def without_beginning(self, streams: Iterable[Any]) -> Iterator[int]:
        """After the last packet: which of the copied videos have no key frame in the range."""
        for stream in streams:
            is_cut = stream.type == "video" and self._reader.span != (None, None)
            if is_cut and not is_cover(stream) and stream.index not in self._keyed:
                yield stream.index

    def _begun(self, packet: Any, late: Fraction) -> bool:
        """A copied video can only be decoded from a key frame on."""
        stream = packet.stream
        if stream.type != "video" or stream.index in self._keyed:
            return True
        if not packet.is_keyframe:
            return False
        self._keyed.add(stream.index)
        if late > _NOTICEABLE:
            self._warnings.append(
                f"stream {stream.index} begins {float(late):.2f} s late, with its key frame"
            )
        return True
