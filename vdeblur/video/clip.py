"""What a video file says of itself and what a look inside found, as values; nobody asks the container again.

`probe` opens the source once and decodes one picture, because headers lie about size, format and times.
Whatever cannot be deblurred is refused here with one sentence; nothing has been written then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import BrokenSourceError, InputError
from vdeblur.frame import PlaneLayout
from vdeblur.video import formats, soundness
from vdeblur.video.names import without_scheme
from vdeblur.video.siting import siting_of
from vdeblur.video.source import (
    NOT_BY_PIPE,
    alpha_decoder,
    choose_video,
    demux,
    is_of_another_variant,
    is_url,
    opened,
    shown_name,
)

_MOST_RATE = 1000  # frames a second; more is a time base
_LOWER_FIRST = 3  # AV_FIELD_BB
_VP8_MATRIX = 5  # BT.601 always (RFC 6386, 9.2), so the container's word counts where there is one

_PCM = ("pcm_s16", "pcm_s24")

StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a container, whatever its kind; `codec` is None where FFmpeg has no decoder."""

    index: int
    kind: StreamKind
    codec: str | None
    codec_tag: str = ""
    language: str | None = None
    title: str | None = None
    disposition: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    time_base: Fraction | None = None
    is_cover: bool = False

    @property
    def is_foreign_pcm(self) -> bool:
        """Whether it is PCM as MOV and Matroska hold it.

        MP4 has a way of its own (ISO/IEC 23003-5), which FFmpeg writes, QuickTime does not read and FFmpeg
        before 6 takes for noise from 24 bits on.  Cameras put it into their MP4 as MOV holds it.
        """
        return (self.codec or "").startswith(_PCM) and self.codec_tag != "ipcm"


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour tags as FFmpeg's enumerations (ITU-T H.273 numbers); 2 is "unspecified" (range: 0)."""

    range: int
    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class Hdr:
    """HDR data of the first frame, as FFmpeg's raw side data; `dynamic` names what cannot be carried."""

    mastering: bytes | None = None
    light: bytes | None = None
    dynamic: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """The video stream that is deblurred, seen through its first decoded frame; defaults: nothing is stated.

    pix_fmt        FFmpeg's name of what the decoder gives
    layout         how frames reach the engine (pix_fmt itself, or the lossless planar form of packed formats)
    rate           frames a second from the header (average, else guessed), None where there is none
    frames_from_header, duration_from_header_s   claims, never trusted; for progress bars and estimates
    first_pts      of the first decoded frame, in time_base units; None where the stream has no times
    display_matrix 36 bytes (nine little-endian int32), or None; the picture is never rotated
    field_order    FFmpeg's AVFieldOrder: 0 unknown, 1 progressive, 2 top first, 3 bottom first
    chroma_siting  of 4:2:0, FFmpeg's word (`siting.py`), None where nothing is stated
    captions       whether the first picture brings closed captions (CEA-608, -708) along
    """

    index: int
    codec: str
    pix_fmt: str
    layout: PlaneLayout
    colour: Colour
    time_base: Fraction
    first_pts: int | None
    rate: Fraction | None = None
    codec_tag: str = ""
    frames_from_header: int | None = None
    duration_from_header_s: float | None = None
    bit_rate: int | None = None
    sample_aspect_ratio: Fraction | None = None
    display_matrix: bytes | None = None
    rotation: int = 0
    field_order: int = 1
    interlaced: bool = False
    hdr: Hdr = Hdr()
    chroma_siting: str | None = None
    captions: bool = False


@dataclass(frozen=True, slots=True)
class Clip:
    """A readable source: file path, URL, "-" or a folder/pattern of pictures (`pictures` lists its files).

    `broken` says what is missing from a file that is cut off, `broken_at_s` at which time, where that is
    known; such a clip is only read with `keep_partial`. `by_gpu`: NVDEC decodes its pictures (`hwaccel.py`).
    """

    source: str
    container: str
    streams: tuple[Stream, ...]
    picture: Picture
    chapters: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    bit_rate: int | None = None
    size_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    broken: str | None = None
    broken_at_s: float | None = None
    by_gpu: bool = False

    def refuse_broken(self) -> None:
        """Raise BrokenSourceError for a file that is cut off."""
        if self.broken is None:
            return
        raise broken_source(self.source, self.broken, self.broken_at_s)


def broken_source(source: str, why: str, at_s: float | None) -> BrokenSourceError:
    """The error for a source that ends too early, `at_s` seconds after its start."""
    when = "" if at_s is None else f" at {at_s:.2f} s"
    return BrokenSourceError(
        f"{shown_name(source)}: breaks off{when} ({why}); --keep-partial takes what is there", at_s
    )


_SIDE_NAMES = {
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid dynamic metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "S12M_TIMECODE": "timecodes inside single pictures",
}
_TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    11: "iec61966-2-4",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
_STILL_CODECS = {
    "png",
    "apng",
    "webp",
    "tiff",
    "jpegxl",
    "jpegxl_anim",
    "libjxl",
    "libjxl_anim",
    "exr",
    "psd",
}
_FRUITLESS = 2000  # packets without a single picture, after which nothing is expected any more
_SMALL_GIF = 64 << 20


def probe(source: str, *, video_stream: int | None = None, timeout_s: float = 10.0) -> Clip:
    """Look into a source once: its streams, tags and first picture.

    `video_stream` is the index of the stream to deblur where it is not to be the default one.
    Raises InputError for everything that is not a readable video or set of pictures.  A file that is cut
    off is described, with `broken` set.
    """
    from vdeblur.video import pictures

    if pictures.is_pictures(source):
        return pictures.probe_pictures(source)
    with opened(source, timeout_s=timeout_s) as container:
        video = choose_video(container, source, video_stream)
        if video.codec_context is None:
            cut_index = not is_url(source) and soundness.lacks_index(Path(without_scheme(source)))
            what = "its index (moov) is cut off" if cut_index else "FFmpeg has no decoder for its video"
            raise InputError(f"{shown_name(source)}: {what}")
        stated_matrix = int(video.codec_context.colorspace)  # decoding overwrites it
        frame = _first_frame(container, video, alpha_decoder(video) or video.codec_context, source)
        opaque = container.format.name == "gif" and _is_opaque(container, video, frame)
        try:
            picture, warnings = _picture(container, video, frame, opaque, stated_matrix)
        except InputError as error:
            raise InputError(f"{shown_name(source)}: {error}") from error
        cut = soundness.find_break(container, video, source)
        if container.format.name.startswith("mov") and soundness.is_spherical(source):
            warnings.append("cannot be carried: the word that this is 360° video; mark the result again")
        streams = [s for s in container.streams if not is_of_another_variant(s, video)]
        if len(streams) < len(container.streams):
            there = ", ".join(str(s.index) for s in container.streams.video)
            said = f"stream {video.index} is taken, --video-stream can be {there}"
            warnings.append(f"the film is there in several qualities: {said}")
        return Clip(
            source=source,
            container=container.format.name,
            streams=tuple(_stream(s) for s in streams),
            picture=picture,
            chapters=len(container.chapters()),
            tags=dict(container.metadata),
            bit_rate=container.bit_rate or None,
            size_bytes=container.size if container.size > 0 else None,
            warnings=tuple(warnings),
            broken=cut[0] if cut else None,
            broken_at_s=None if cut is None or cut[1] is None else cut[1] - (container.start_time or 0) / 1e6,
        )


def side_data(frame: av.VideoFrame, codec: str) -> dict[str, bytes]:
    """The side data of a frame by name; empty where PyAV refuses all because it does not know one of them.

    Codecs of pictures are not asked: their ICC profile has metadata, which PyAV frees twice (crash).
    """
    if codec in _STILL_CODECS:
        return {}
    try:
        parts: Iterator[Any] = iter(frame.side_data)
        return {part.type.name: bytes(part) for part in parts}
    except ValueError:
        return {}


def _first_frame(
    container: InputContainer, video: VideoStream, decoder: VideoCodecContext, source: str
) -> av.VideoFrame:
    failed = 0
    try:
        for packet in demux(container, video):
            try:
                for frame in decoder.decode(packet if packet.size else None):
                    return frame
            except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UnknownError):
                failed += 1
            if failed > _FRUITLESS:
                break
    except av.FFmpegError as error:
        if source == "-" and container.format.name.startswith("mov"):
            raise InputError(NOT_BY_PIPE) from error
        raise InputError(
            f"{shown_name(source)}: breaks off before the first picture ({error.strerror})"
        ) from error
    codec = video.codec_context.name
    raise InputError(f"{shown_name(source)}: opens, but no picture of stream {video.index} ({codec}) decodes")


def _picture(
    container: InputContainer, video: VideoStream, frame: av.VideoFrame, opaque: bool, stated_matrix: int
) -> tuple[Picture, list[str]]:
    context = video.codec_context
    warnings: list[str] = []
    pix_fmt = frame.format.name
    form, loss = formats.lossless_form(pix_fmt)
    if opaque or (pix_fmt == "pal8" and context.codec.name not in _STILL_CODECS):
        form = "gbrp"  # only palettes of pictures let anything through
    if loss is not None:
        warnings.append(loss)
    colour = Colour(
        range=int(frame.color_range),
        matrix=_stated(stated_matrix, _VP8_MATRIX) if context.name == "vp8" else int(frame.colorspace),
        # A decoder of our own (for alpha) does not know what the container states.
        primaries=_stated(frame.color_primaries, context.color_primaries),
        transfer=_stated(frame.color_trc, context.color_trc),
    )
    layout = formats.layout_of(
        form,
        frame.width,
        frame.height,
        range_tag=colour.range,
        matrix_tag=colour.matrix,
        transfer=_TRANSFERS.get(colour.transfer, "unknown"),
    )
    if layout.kind == "yuv" and colour.matrix in (0, 2, 3):
        guess = "BT.709" if layout.matrix == "bt709" else "BT.601"
        warnings.append(f"the colour matrix is not stated: taken as {guess}, from its {frame.height} lines")
    side = side_data(frame, context.codec.name)
    matrix = side.get("DISPLAYMATRIX")
    if matrix is None and frame.rotation:
        matrix = display_matrix(frame.rotation)
    dynamic = tuple(dict.fromkeys(name for key, name in _SIDE_NAMES.items() if key in side))
    return (
        Picture(
            index=video.index,
            codec=_codec_name(context) or "unknown",
            codec_tag=_tag(context),
            pix_fmt=pix_fmt,
            layout=layout,
            time_base=Fraction(video.time_base or frame.time_base or Fraction(1, 1000)),
            rate=_rate(video, is_timed=frame.pts is not None),
            frames_from_header=video.frames or None,
            duration_from_header_s=_duration_s(container, video),
            first_pts=frame.pts,
            bit_rate=context.bit_rate or None,
            sample_aspect_ratio=aspect_of(video),
            display_matrix=matrix,
            rotation=int(frame.rotation),
            # DV has its lower field first always (IEC 61834-2) and says nothing of it.
            field_order=_LOWER_FIRST if context.name == "dvvideo" else int(context.field_order),
            interlaced=bool(frame.interlaced_frame),
            colour=colour,
            hdr=Hdr(side.get("MASTERING_DISPLAY_METADATA"), side.get("CONTENT_LIGHT_LEVEL"), dynamic),
            chroma_siting=siting_of(video) if layout.subsampling == (2, 2) else None,
            captions="A53_CC" in side,
        ),
        warnings,
    )


def _rate(video: VideoStream, *, is_timed: bool) -> Fraction | None:
    """Frames a second: stated, or FFmpeg's guess, which is the time base where times have no rhythm.

    Of raw streams FFmpeg states 25 always, and guesses by what the stream says of itself.
    """
    stated, guessed = video.average_rate, video.guessed_rate
    for rate in (stated, guessed) if is_timed else (guessed, stated):
        if rate and rate <= _MOST_RATE:
            return Fraction(rate)
    return None


def _stated(frame: int, container: int) -> int:
    """An H.273 number from the frame, or from the container where the frame has none (2: unspecified)."""
    return int(container if int(frame) == 2 else frame)


def _stream(stream: av.stream.Stream) -> Stream:
    context = stream.codec_context
    kind: StreamKind = "data"
    if stream.type in ("video", "audio", "subtitle", "attachment"):
        kind = stream.type
    return Stream(
        index=stream.index,
        kind=kind,
        codec=_codec_name(context),
        codec_tag="" if context is None else _tag(context),
        language=stream.language,
        title=stream.metadata.get("title"),
        disposition=int(stream.disposition),
        metadata=dict(stream.metadata),
        time_base=stream.time_base or None,
        is_cover=kind == "video" and bool(stream.disposition & Disposition.attached_pic),
    )


def _codec_name(context: av.CodecContext | None) -> str | None:
    """The codec's name ("av1"), not the decoder's ("libdav1d")."""
    if context is None:
        return None
    return str(getattr(context.codec, "canonical_name", None) or context.name)


def _tag(context: av.CodecContext) -> str:
    """A codec's tag without the zero and control bytes that some containers fill it with."""
    try:
        tag = context.codec_tag
    except UnicodeDecodeError:
        return ""  # a number, as in AVI and MPEG-TS
    return "".join(letter for letter in tag if letter.isprintable()).strip()


def _duration_s(container: InputContainer, video: VideoStream) -> float | None:
    """The stream's own claim before the container's: one long subtitle stretches a whole Matroska file."""
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    stated = video.metadata.get("DURATION", "").split(":")
    try:
        hours, minutes, seconds = (float(part) for part in stated)
        return hours * 3600 + minutes * 60 + seconds
    except ValueError:
        return container.duration / 1e6 if container.duration else None


def aspect_of(video: VideoStream) -> Fraction | None:
    """Width of a pixel over its height, as the container says, else the stream itself."""
    ratio = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    return Fraction(ratio) if ratio else None


def display_matrix(degrees: int) -> bytes:
    """A display matrix (16.16 fixed point, 2.30 in the last column) that turns counter-clockwise."""
    turn = math.radians(degrees)
    cos, sin = round(math.cos(turn) * 65536), round(math.sin(turn) * 65536)
    return np.array([cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30], "<i4").tobytes()


def _is_opaque(container: InputContainer, video: VideoStream, first: av.VideoFrame) -> bool:
    """Whether no picture of a GIF lets anything through; big ones are not looked through and keep alpha."""
    if container.size > _SMALL_GIF or first.format.name != "bgra":
        return False
    frames = [first]
    try:
        for packet in demux(container, video):
            frames += video.codec_context.decode(packet if packet.size else None)
            if any((formats.views(frame)[0][..., 3] != 255).any() for frame in frames):
                return False
            frames.clear()
    except av.FFmpegError:
        return False
    return True
