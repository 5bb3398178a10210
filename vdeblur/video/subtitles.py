"""Text subtitles from one codec to another, cue by cue; times and text stay, styling where both know it.

MP4 and MOV show one text at a time.  There the time is cut wherever a line begins or ends, and lines that are
on screen together become one text.  Text that is no UTF-8 is read as Windows-1252, as players do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.subtitles.subtitle import SubtitleSet

TEXT = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"})
_MILLISECOND = Fraction(1, 1000)
_UTF16 = (b"\xfe\xff", b"\xff\xfe")


class TextConverter:
    """One subtitle stream on its way into another codec; used by the writing thread."""

    def __init__(self, output: Any, stream: Any, wanted: str, warnings: list[str]) -> None:
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)
        self._source, self._codec, self._warnings = stream.index, self._decoder.codec.canonical_name, warnings
        self.stream = output.add_stream(wanted)
        self.stream.codec_context.subtitle_header = self._decoder.subtitle_header
        self.stream.time_base = _MILLISECOND
        self._together = Together() if wanted == "mov_text" else None

    def convert(self, packet: Any) -> Iterator[Any]:
        """The packets in the new codec that are known with this one: in MP4 and MOV those before it."""
        begin = round(packet.pts * packet.time_base / _MILLISECOND)
        end = round((packet.pts + (packet.duration or 0)) * packet.time_base / _MILLISECOND)
        shown = self._read(packet, begin)
        if self._together is not None:
            for part in shown or ():
                yield from map(self._of_text, self._together.add(Line(begin, end, bytes(part.ass))))
        elif shown is not None:
            yield self._made(shown, begin, end)

    def rest(self) -> Iterator[Any]:
        """After the last one: what is still on screen."""
        if self._together is not None:
            yield from map(self._of_text, self._together.rest())

    def _read(self, packet: Any, begin: int) -> Any:
        """What is shown; None for nothing, and where it cannot be read."""
        readable = in_utf8(packet, self._codec)
        if readable is not packet:
            self._warn("text that is no UTF-8 is read as Windows-1252")
        try:
            return self._decoder.decode2(readable)
        except av.error.InvalidDataError:
            self._warn(f"subtitles that cannot be read are left out, the first at {begin / 1000:.2f} s")
            return None

    def _of_text(self, text: Line) -> Any:
        return self._made(SubtitleSet.create(text.ass, 0, text.end - text.begin), text.begin, text.end)

    def _made(self, shown: Any, begin: int, end: int) -> Any:
        made = self.stream.codec_context.encode_subtitle(shown)
        made.pts = made.dts = begin
        made.duration, made.time_base, made.stream = end - begin, _MILLISECOND, self.stream
        return made

    def _warn(self, text: str) -> None:
        """Each kind once, with its first time."""
        head = f"stream {self._source}: {text.split(',')[0]}"
        if not any(line.startswith(head) for line in self._warnings):
            self._warnings.append(f"stream {self._source}: {text}")


@dataclass(frozen=True, slots=True)
class Line:
    """Something that is on screen from `begin` to `end` (milliseconds), as FFmpeg's ASS event."""

    begin: int
    end: int
    ass: bytes


class Together:
    """Lines in the order in which they begin; out come texts of which one is shown at a time."""

    def __init__(self) -> None:
        self._lines: list[Line] = []  # on screen
        self._at = 0

    def add(self, line: Line) -> Iterator[Line]:
        """The texts up to the beginning of this line."""
        yield from self._until(line.begin)
        if line.end > line.begin:
            self._lines.append(line)
        else:
            yield line  # says not how long: nothing can be cut by it

    def rest(self) -> Iterator[Line]:
        """The texts up to the end of the last line."""
        yield from self._until(max((line.end for line in self._lines), default=self._at))

    def _until(self, when: int) -> Iterator[Line]:
        while self._lines and self._at < when:
            stop = min(when, *(line.end for line in self._lines))
            if stop > self._at:
                yield Line(self._at, stop, _joined(self._lines))
            self._at = max(self._at, stop)
            self._lines = [line for line in self._lines if line.end > self._at]
        self._at = max(self._at, when)


def _joined(lines: list[Line]) -> bytes:
    """One event below the other, each in its own style (fields of an event: ..., style, ..., text)."""
    first, *more = [line.ass.split(b",", 8) for line in lines]
    text = [first[8], *(b"{\\r%b}%b" % (event[2], event[8]) for event in more)]
    return b",".join((*first[:8], b"\\N".join(text)))


def in_utf8(packet: Any, codec: str) -> Any:
    """The packet of a text codec if it is UTF-8 (or UTF-16), else a new one: its bytes as Windows-1252."""
    data = bytes(packet)
    # mov_text: a length in two bytes, the text, and boxes of styles that count characters.
    length = int.from_bytes(data[:2], "big") if codec == "mov_text" else len(data)
    head = 2 if codec == "mov_text" else 0
    text, boxes = data[head : head + length], data[head + length :]
    try:
        text.decode()
        return packet
    except UnicodeDecodeError:
        if text.startswith(_UTF16):
            return packet
    text = text.decode("cp1252", errors="replace").encode()
    made = av.Packet((len(text).to_bytes(2, "big") if head else b"") + text + boxes)
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.time_base = packet.time_base
    return made
