"""What a finished file holds, seen by demuxing it: times as integers, packets as digests, never their bytes.

Shares nothing with the writer.  A packet costs 25 bytes of memory, however large it is.  One picture is
decoded, for what only the bitstream tells; `picture_times` decodes them all, for files whose packets are not
pictures.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import Any, TypeAlias

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import InputError
from vdeblur.video.alignment import NO_TIME, Times
from vdeblur.video.clip import Picture
from vdeblur.video.pieces import Piece, Pieces
from vdeblur.video.probing import picture_of, stated_colour
from vdeblur.video.source import (
    alpha_decoder,
    choose_video,
    demux,
    is_cover,
    is_of_another_variant,
    opened,
    shown_name,
)
from vdeblur.video.subtitles import TEXT, in_utf8

_SEGMENT_HEAD, _COMPOSITION = 3, 0x16  # kind and size; the kind with which a subtitle of a disc begins
_FRUITLESS = 300  # packets without a picture, after which none is expected

Packet: TypeAlias = "av.Packet[Any]"
Choose = Callable[[InputContainer], VideoStream]


@dataclass(slots=True)
class Track:
    """One stream: what it says of itself, and a digest, the times and the hidden mark of every packet
    (of PCM: of every piece, see `pieces`).

    kind     "video", "audio", "subtitle", "data", "attachment", or "cover" wherever a cover picture lies
    codec    FFmpeg's name; of data the name of its kind, None where FFmpeg knows none
    hidden   1 for what lies before the start or behind the end (edit lists): read, but never shown
    words    of subtitles made of text only, a digest of the words that are read on screen, 0 for none: the
             sum of those of its lines, so that texts which are shown as one have the sum of theirs
    """

    index: int
    kind: str
    codec: str | None
    disposition: int
    tags: dict[str, str]
    time_base: Fraction
    digests: array[int] = field(default_factory=lambda: array("Q"))
    pts: array[int] = field(default_factory=lambda: array("q"))
    durations: array[int] = field(default_factory=lambda: array("q"))
    hidden: bytearray = field(default_factory=bytearray)
    words: array[int] = field(default_factory=lambda: array("Q"))

    @property
    def name(self) -> str:
        """For messages: `audio 1 (eng)`."""
        language = self.tags.get("language", "und")
        return f"{self.kind} {self.index}" + (f" ({language})" if language != "und" else "")

    def shown(self, values: array[int]) -> array[int]:
        """Of one of the arrays, the entries of the packets that are not hidden."""
        if not any(self.hidden):
            return values
        return array(values.typecode, (v for v, h in zip(values, self.hidden, strict=True) if not h))


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole file; `video` is the stream that is (or was) deblurred, `picture` what its first one says, None
    where none decodes."""

    source: str
    container: str
    tags: dict[str, str]
    chapters: tuple[tuple[Fraction, Fraction, str], ...]
    video: Track
    others: tuple[Track, ...]
    picture: Picture | None
    broken: bool


def video_numbered(index: int | None) -> Choose:
    """The stream of this number, or the one that would be deblurred by default."""
    return lambda container: choose_video(container, container.name, index)


BY_DEFAULT = video_numbered(None)


def video_in_place_of(own: int, kept: Iterable[int]) -> Choose:
    """The video that stands where this one does among those that are kept of its source (numbers of streams);
    the default one of a file that has not as many."""
    order = sorted(kept)

    def choose(container: InputContainer) -> VideoStream:
        there = [s for s in container.streams.video if not is_cover(s)]
        if len(there) != len(order):
            return choose_video(container, container.name, None)
        return there[order.index(own)]

    return choose


class Gathering:
    """Contents of an open file, from its packets as somebody reads them, each as it came from the file."""

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        self._container, self._video = container, video
        streams = [s for s in container.streams if not is_of_another_variant(s, video)]
        self._tracks = {s.index: _track(s) for s in streams}
        self._readers = {s.index: _text_reader(s) for s in streams if s.type == "subtitle"}
        self._pieces = {s.index: pieces for s in streams if (pieces := Pieces.of(s))}

    def packet(self, packet: Packet) -> None:
        """The next one; it may belong to another stream than the video."""
        index = packet.stream_index
        if packet.size and index in self._tracks:
            track = self._tracks[index]
            if pieces := self._pieces.get(index):
                _note_pieces(track, pieces.through(packet))
            elif track.codec == "hdmv_pgs_subtitle":
                _note_segments(track, packet)
            else:
                _note(track, packet, self._readers.get(index))

    def contents(self, source: str, picture: Picture | None, *, broken: bool) -> Contents:
        """All of it, with what the first picture says; InputError where there was no packet of it."""
        for number, pieces in self._pieces.items():
            _note_pieces(self._tracks[number], pieces.rest())
        chapters = tuple(
            (c["start"] * Fraction(tick), c["end"] * Fraction(tick), c["metadata"].get("title", ""))
            for c in self._container.chapters()
            if (tick := c["time_base"])
        )
        index = self._video.index
        if not self._tracks[index].pts:
            raise InputError(f"{shown_name(source)}: no picture in it")
        return Contents(
            source=source,
            container=self._container.format.name,
            tags=dict(self._container.metadata),
            chapters=chapters,
            video=self._tracks[index],
            others=tuple(t for i, t in self._tracks.items() if i != index),
            picture=picture,
            broken=broken,
        )


def read_contents(source: str, choose: Choose = BY_DEFAULT) -> Contents:
    """Read a file from its start to its end; raises InputError where it is no video that can be decoded."""
    with opened(source) as container:
        video = choose(container)
        if video.codec_context is None:
            raise InputError(f"{shown_name(source)}: FFmpeg has no decoder for its video")
        decoder, stated = alpha_decoder(video) or video.codec_context, stated_colour(video)
        gathering = Gathering(container, video)
        picture: Picture | None = None
        pending, broken = _FRUITLESS, False
        try:
            for packet in demux(container):
                if packet.stream_index == video.index and picture is None and pending:
                    pending -= 1
                    for frame in _decoded(decoder, packet)[:1]:
                        picture, _ = picture_of(container, video, frame, stated)
                gathering.packet(packet)
        except (av.FFmpegError, OSError):
            broken = True
        return gathering.contents(source, picture, broken=broken)


def packet_times(video: Track) -> Times | None:
    """When each picture is shown, if every packet is one and has a time of its own; else None."""
    times = Times.of(sorted(video.shown(video.pts)), video.time_base)
    return times if len(times) and times.increase else None


def picture_times(source: str, index: int) -> Times:
    """When each picture is shown, as the decoder says; costs as much as playing the file."""
    with opened(source) as container:
        video = container.streams[index]
        assert isinstance(video, VideoStream)
        tick = Fraction(video.time_base or Fraction(1, 1000))
        found = array("q")
        for frame in decoded(container, video):
            found.append(time_of(frame, tick))
        return Times(found, tick)


def time_of(picture: av.VideoFrame, tick: Fraction) -> int:
    """When it is shown, in these units (a decoder may count in its own); NO_TIME where nobody says."""
    if picture.pts is None:
        return NO_TIME
    return round(picture.pts * Fraction(picture.time_base or tick) / tick)


def decoded(container: InputContainer, video: VideoStream) -> Iterator[av.VideoFrame]:
    """All pictures that decode, in order of presentation."""
    with suppress(av.FFmpegError, OSError):
        for packet in demux(container, video):
            yield from _decoded(video.codec_context, packet)


def _track(stream: Any) -> Track:
    context = stream.codec_context
    codec = stream.name if context is None else context.codec.canonical_name
    track = Track(
        index=stream.index,
        kind="cover" if stream.type == "video" and is_cover(stream) else stream.type,
        codec=codec,
        disposition=int(stream.disposition),
        tags=dict(stream.metadata),
        time_base=Fraction(stream.time_base or Fraction(1, 1000)),
    )
    if stream.type == "attachment":
        track.digests.append(_digest(stream.data))
    return track


def _text_reader(stream: Any) -> Any:
    """A decoder of our own for a stream of text: the stream's belongs to whoever converts it."""
    context = stream.codec_context
    if context is None or context.codec.canonical_name not in TEXT:
        return None
    reader = av.CodecContext.create(context.codec.name, "r")
    reader.extradata = context.extradata
    return reader


def _note(track: Track, packet: Packet, reader: Any) -> None:
    if track.codec == "mov_text" and bytes(packet)[:2] == b"\0\0":
        return  # MP4 fills the time between two subtitles with an empty one
    data = memoryview(packet)
    if track.codec == "aac" and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        data = data[7 if data[1] & 1 else 9 :]  # ADTS, which MPEG-TS puts before each packet
    track.digests.append(_digest(data))
    track.pts.append(NO_TIME if packet.pts is None else packet.pts)
    track.durations.append(packet.duration or 0)
    track.hidden.append(packet.is_discard)
    if reader is not None:
        track.words.append(_words(packet, reader))


def _note_segments(track: Track, packet: Packet) -> None:
    """Picture subtitles of discs, each as one packet, as in Matroska: MPEG-TS has one for each segment."""
    data = memoryview(packet)
    while len(data) >= _SEGMENT_HEAD:
        size = _SEGMENT_HEAD + int.from_bytes(data[1:_SEGMENT_HEAD])
        if data[0] == _COMPOSITION or not track.digests:
            track.digests.append(0)
            track.pts.append(NO_TIME if packet.pts is None else packet.pts)
            track.durations.append(packet.duration or 0)
            track.hidden.append(packet.is_discard)
        before = track.digests[-1].to_bytes(8, "little")
        track.digests[-1] = _digest(before + bytes(data[:size]))
        data = data[size:]


def _note_pieces(track: Track, pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        track.digests.append(_digest(piece.data))
        track.pts.append(round(piece.begins / track.time_base))
        track.durations.append(round(piece.lasts / track.time_base))
        track.hidden.append(piece.hidden)


def _digest(data: Any) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _words(packet: Packet, reader: Any) -> int:
    """See `Track.words`; without styles, which are written in different ways by different codecs."""
    try:
        parts = reader.decode2(in_utf8(packet, reader.codec.canonical_name)) or ()
        shown = [bytes(getattr(part, "dialogue", b"")) for part in parts]
    except av.FFmpegError:
        return 0
    words = re.sub(rb"<[^>]*>|\{[^}]*\}", b"", b"\n".join(shown)).replace(b"\\N", b"\n")
    lines = filter(None, map(bytes.strip, words.split(b"\n")))
    return sum(map(_digest, lines)) % (1 << 64)


def _decoded(decoder: VideoCodecContext, packet: Packet) -> list[av.VideoFrame]:
    try:
        return decoder.decode(packet if packet.size else None)
    except av.FFmpegError:
        return []
