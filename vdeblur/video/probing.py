"""One look into a source: opened once, one picture decoded, because headers lie about size, format and times.

Whatever cannot be deblurred is refused here with one sentence; nothing has been written then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import InputError
from vdeblur.video import formats, soundness
from vdeblur.video.clip import LOWER_FIRST, Clip, Colour, Hdr, Picture, Stream, StreamKind
from vdeblur.video.names import without_scheme
from vdeblur.video.siting import siting_of
from vdeblur.video.source import (
    NOT_BY_PIPE,
    alpha_decoder,
    choose_video,
    demux,
    is_cover,
    is_of_another_variant,
    is_url,
    opened,
    shown_name,
)

_MOST_RATE = 1000  # frames a second; more is a time base
_VP8_MATRIX = 5  # BT.601 always (RFC 6386, 9.2), so the container's word counts where there is one
_SIDE_NAMES = {
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid dynamic metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "S12M_TIMECODE": "timecodes inside single pictures",
}
_STILL_CODECS = {
    *("png", "apng", "webp", "tiff", "exr", "psd"),
    *("jpegxl", "jpegxl_anim", "libjxl", "libjxl_anim"),
}
_FRUITLESS = 2000  # packets without a single picture, after which nothing is expected any more
_SMALL_GIF = 64 << 20


def probe(source: str, *, video_stream: int | None = None) -> Clip:
    """Look into a source once: its streams, tags and first picture.

    `video_stream` is the index of the stream to deblur where it is not to be the default one.
    Raises InputError for everything that is not a readable video or set of pictures.  A file that is cut
    off is described, with `broken` set.
    """
    from vdeblur.video import pictures

    if pictures.is_pictures(source):
        return pictures.probe_pictures(source)
    with opened(source) as container:
        video = choose_video(container, source, video_stream)
        if video.codec_context is None:
            cut_index = not is_url(source) and soundness.lacks_index(Path(without_scheme(source)))
            what = "its index (moov) is cut off" if cut_index else "FFmpeg has no decoder for its video"
            raise InputError(f"{shown_name(source)}: {what}")
        stated = stated_colour(video)
        frame = _first_frame(container, video, alpha_decoder(video) or video.codec_context, source)
        opaque = container.format.name == "gif" and _is_opaque(container, video, frame)
        picture, warnings = picture_of(container, video, frame, stated, opaque=opaque)
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


def picture_of(
    container: InputContainer,
    video: VideoStream,
    frame: av.VideoFrame,
    stated: Colour,
    *,
    opaque: bool = False,
) -> tuple[Picture, list[str]]:
    """What a stream and its first picture say, and what is to be said of them.

    `stated`: colour of the stream, asked before anything was decoded, which overwrites it.
    Raises InputError for pictures that cannot be read.
    """
    context = video.codec_context
    pix_fmt = frame.format.name
    try:
        form, loss = formats.lossless_form(pix_fmt)
    except InputError as error:
        raise InputError(f"{shown_name(container.name)}: {error}") from error
    warnings = [] if loss is None else [loss]
    if opaque or (pix_fmt == "pal8" and context.codec.name not in _STILL_CODECS):
        form = "gbrp"  # only palettes of pictures let anything through
    is_vp8 = context.name == "vp8"
    matrices = (stated.matrix, _VP8_MATRIX) if is_vp8 else (frame.colorspace, stated.matrix)
    colour = Colour(
        range=int(frame.color_range),
        matrix=_first_stated(*matrices),
        primaries=_first_stated(frame.color_primaries, stated.primaries),
        transfer=_first_stated(frame.color_trc, stated.transfer),
    )
    layout = formats.layout_of(
        form, frame.width, frame.height, range_tag=colour.range, matrix_tag=colour.matrix
    )
    if layout.kind == "yuv" and colour.matrix in (0, 2, 3):
        guess = "BT.709" if layout.matrix == "bt709" else "BT.601"
        warnings.append(f"the colour matrix is not stated: taken as {guess}, from its {frame.height} lines")
    side = _side_data(frame, context.codec.name)
    matrix = side.get("DISPLAYMATRIX")
    if matrix is None and frame.rotation:
        matrix = display_matrix(frame.rotation)
    dynamic = tuple(dict.fromkeys(name for key, name in _SIDE_NAMES.items() if key in side))
    return (
        Picture(
            index=video.index,
            codec=context.codec.canonical_name,
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
            field_order=LOWER_FIRST if context.name == "dvvideo" else int(context.field_order),
            interlaced=bool(frame.interlaced_frame),
            colour=colour,
            hdr=Hdr(side.get("MASTERING_DISPLAY_METADATA"), side.get("CONTENT_LIGHT_LEVEL"), dynamic),
            chroma_siting=siting_of(video) if layout.subsampling == (2, 2) else None,
            captions="A53_CC" in side,
        ),
        warnings,
    )


def _side_data(frame: av.VideoFrame, codec: str) -> dict[str, bytes]:
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


def _rate(video: VideoStream, *, is_timed: bool) -> Fraction | None:
    """Frames a second: stated, or FFmpeg's guess, which is the time base where times have no rhythm.

    Of raw streams FFmpeg states 25 always, and guesses by what the stream says of itself.
    """
    stated, guessed = video.average_rate, video.guessed_rate
    for rate in (stated, guessed) if is_timed else (guessed, stated):
        if rate and rate <= _MOST_RATE:
            return Fraction(rate)
    return None


def stated_colour(video: VideoStream) -> Colour:
    """What the container says; decoding overwrites it, for some codecs by what the pictures leave open."""
    context = video.codec_context
    return Colour(
        int(context.color_range),
        int(context.colorspace),
        int(context.color_primaries),
        int(context.color_trc),
    )


def _first_stated(one: int, other: int) -> int:
    """Of two H.273 numbers (2: unspecified)."""
    return int(other if int(one) == 2 else one)


def _stream(stream: av.stream.Stream) -> Stream:
    context = stream.codec_context
    kind: StreamKind = "data"
    if stream.type in ("video", "audio", "subtitle", "attachment"):
        kind = stream.type
    return Stream(
        index=stream.index,
        kind=kind,
        codec=None if context is None else context.codec.canonical_name,
        codec_tag="" if context is None else _tag(context),
        language=stream.language,
        disposition=int(stream.disposition),
        metadata=dict(stream.metadata),
        time_base=stream.time_base or None,
        is_cover=kind == "video" and is_cover(stream),
    )


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
