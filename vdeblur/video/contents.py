"""What a finished file holds, seen by demuxing it: times as integers, packets as digests, never their bytes.

Shares nothing with the writer.  A packet costs 25 bytes of memory, however large it is.  One picture is
decoded, for what only the bitstream tells (colour, HDR data, rotation); `picture_times` decodes them all, for
files whose packets are not pictures.
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
from av.video.stream import VideoStream

from vdeblur.errors import InputError
from vdeblur.video.alignment import NO_TIME, Times
from vdeblur.video.clip import aspect_of, side_data
from vdeblur.video.pieces import Piece, Pieces
from vdeblur.video.siting import siting_of
from vdeblur.video.source import choose_video, demux, is_cover, is_of_another_variant, opened
from vdeblur.video.subtitles import TEXT, in_utf8

_FRUITLESS = 300  # packets without a picture, after which none is expected
_HDR = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
_DYNAMIC = ("DYNAMIC", "DOVI", "AMBIENT", "S12M", "A53")

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
class Look:
    """What the first picture and its stream say.

    colour   range, matrix, primaries, transfer as H.273 numbers; hdr: numbers of the HDR10 data
    matrix   the display matrix, nine numbers; dynamic: names of HDR data that changes with the scene
    siting   where the chroma samples of 4:2:0 lie, None where nothing is stated
    fields   "progressive", "top field first", "bottom field first", or only "interlaced"
    """

    size: tuple[int, int]
    pix_fmt: str
    aspect: Fraction
    rotation: int
    matrix: tuple[int, ...] | None
    colour: tuple[int, ...]
    hdr: dict[str, tuple[float, ...]]
    dynamic: frozenset[str]
    siting: str | None
    fields: str


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole file; `video` is the stream that is (or was) deblurred, `look` None where nothing decodes."""

    source: str
    container: str
    tags: dict[str, str]
    chapters: tuple[tuple[Fraction, Fraction, str], ...]
    video: Track
    others: tuple[Track, ...]
    look: Look | None
    broken: bool


def first_choice(container: InputContainer) -> VideoStream:
    """The stream that would be deblurred by default."""
    return choose_video(container, container.name, None)


def video_at(place: int, count: int) -> Choose:
    """The video at a place among `count`; the default one of a file that has not as many."""

    def choose(container: InputContainer) -> VideoStream:
        there = [s for s in container.streams.video if not is_cover(s)]
        if len(there) != count:
            return choose_video(container, container.name, None)
        return there[place]

    return choose


class Gathering:
    """Contents of an open file, from its packets as somebody reads them, each as it came from the file."""

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        self._container, self._video = container, video
        streams = [s for s in container.streams if not is_of_another_variant(s, video)]
        self._tracks = {s.index: _track(s) for s in streams}
        self._readers = {s.index: _text_reader(s) for s in streams if s.type == "subtitle"}
        self._pieces = {s.index: pieces for s in streams if (pieces := Pieces.of(s))}
        context = video.codec_context
        self._stated = 2 if context is None else int(context.colorspace)  # decoding overwrites it
        self.look: Look | None = None

    def packet(self, packet: Packet) -> None:
        """The next one; it may belong to another stream than the video."""
        index = packet.stream_index
        if packet.size and index in self._tracks:
            if pieces := self._pieces.get(index):
                _note_pieces(self._tracks[index], pieces.through(packet))
                return
            _note(self._tracks[index], packet, self._readers.get(index))

    def picture(self, frame: av.VideoFrame) -> None:
        """A picture of the video; the first one counts."""
        if self.look is None:
            self.look = _look(self._video, frame, self._stated)

    def contents(self, source: str, *, broken: bool) -> Contents:
        """All of it; InputError where there was no picture."""
        for number, pieces in self._pieces.items():
            _note_pieces(self._tracks[number], pieces.rest())
        chapters = tuple(
            (c["start"] * Fraction(tick), c["end"] * Fraction(tick), c["metadata"].get("title", ""))
            for c in self._container.chapters()
            if (tick := c["time_base"])
        )
        index = self._video.index
        if not self._tracks[index].pts:
            raise InputError(f"{source}: no picture in it")
        return Contents(
            source=source,
            container=self._container.format.name,
            tags=dict(self._container.metadata),
            chapters=chapters,
            video=self._tracks[index],
            others=tuple(t for i, t in self._tracks.items() if i != index),
            look=self.look,
            broken=broken,
        )


def read_contents(source: str, choose: Choose = first_choice) -> Contents:
    """Read a file from its start to its end; raises InputError where it cannot be opened as a video."""
    with opened(source) as container:
        video = choose(container)
        gathering = Gathering(container, video)
        pending, broken = _FRUITLESS, False
        try:
            for packet in demux(container):
                if packet.stream_index == video.index and gathering.look is None and pending:
                    pending -= 1
                    for frame in _decoded(video, packet)[:1]:
                        gathering.picture(frame)
                gathering.packet(packet)
        except (av.FFmpegError, OSError):
            broken = True
        return gathering.contents(source, broken=broken)


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
            yield from _decoded(video, packet)


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


def _decoded(video: VideoStream, packet: Packet) -> list[av.VideoFrame]:
    if video.codec_context is None:
        return []  # FFmpeg has no decoder for it
    try:
        return video.codec_context.decode(packet if packet.size else None)
    except av.FFmpegError:
        return []


def _look(video: VideoStream, frame: av.VideoFrame, stated: int) -> Look:
    side = side_data(frame, video.codec_context.codec.name)
    matrix = side.get("DISPLAYMATRIX")
    return Look(
        size=(frame.width, frame.height),
        pix_fmt=frame.format.name,
        aspect=aspect_of(video) or Fraction(1),
        rotation=int(frame.rotation),
        matrix=None if matrix is None else _integers(matrix),
        colour=_colour(video, frame, stated),
        hdr={name: _hdr_numbers(name, side[name]) for name in _HDR if name in side},
        dynamic=frozenset(name for name in side if name.startswith(_DYNAMIC)),
        siting=siting_of(video) if frame.format.name.startswith(("yuv420", "yuvj420")) else None,
        fields=_fields(video, frame),
    )


def _fields(video: VideoStream, frame: av.VideoFrame) -> str:
    if not frame.interlaced_frame:
        return "progressive"
    context = video.codec_context
    if context.codec.name == "dvvideo":  # says nothing, as there is but one order
        return "bottom field first"
    # The numbers for fields that are coded in another order than shown are given by some the other way round.
    return {2: "top field first", 3: "bottom field first"}.get(int(context.field_order), "interlaced")


def _colour(video: VideoStream, frame: av.VideoFrame, stated: int) -> tuple[int, ...]:
    """From the frame, else from the container; VP8 has no word for the matrix, so the container's counts."""
    context = video.codec_context
    found = [int(frame.color_range)]
    for name in ("colorspace", "color_primaries", "color_trc"):
        value = int(getattr(frame, name))
        found.append(int(getattr(context, name)) if value == 2 else value)
    if context.name == "vp8" and stated != 2:
        found[1] = stated
    return tuple(found)


def _hdr_numbers(name: str, data: bytes) -> tuple[float, ...]:
    """As values, not as fractions: codecs write the same value with different denominators."""
    numbers = _integers(data)
    if name == "CONTENT_LIGHT_LEVEL":
        return tuple(float(v) for v in numbers[:2])
    return tuple(a / (b or 1) for a, b in zip(numbers[0:20:2], numbers[1:20:2], strict=True))


def _integers(data: bytes) -> tuple[int, ...]:
    return tuple(
        int.from_bytes(data[k : k + 4], "little", signed=True) for k in range(0, len(data) // 4 * 4, 4)
    )
