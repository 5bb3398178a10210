"""The encoder of one run: opened for the first frame, fed with frames, giving packets with exact times.

Promises: every packet carries its frame's own pts and duration; a frame that already has the written pixel
format reaches the encoder as the decoded picture it came in, edited in place, with all its side data.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Frame, PlaneLayout
from vdeblur.video import hdr
from vdeblur.video.clip import LOWER_FIRST, Clip, Colour
from vdeblur.video.encoders import ENCODERS, LIMITED, OutputChoice
from vdeblur.video.formats import views
from vdeblur.video.shapes import shape_of

# Encoders that print to the terminal by themselves, and how each is asked not to.
_QUIET = {"libx265": ("x265-params", "log-level=none")}
# With AVX-512, x264's bits depend on what happens to lie in memory (MALLOC_PERTURB_ changes them) where a
# picture is not a multiple of 8 macroblocks wide; without AVX-512, or without its macroblock tree, they do
# not. So it probably reads behind its rows there. No two runs would be the same.
_WITHOUT_AVX512 = "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"

_BT709, _UNSTATED, _SRGB = 1, 2, 13  # H.273
_TOO_FEW = 2
"""Frames of which libx265 (4.1) makes decoding times from memory that nobody has written: its delay is never
filled. Nothing is reordered among so few."""


def configure(
    context: Any, choice: OutputChoice, clip: Clip, size: tuple[int, int], time_base: Fraction
) -> None:
    """Set everything on an encoder that is not yet open; `size` is (width, height)."""
    picture = clip.picture
    context.width, context.height = size
    context.pix_fmt = choice.pix_fmt
    context.time_base = time_base
    context.framerate = rate_of(clip)
    context.flags |= Flags.frame_duration
    if picture.sample_aspect_ratio:
        context.sample_aspect_ratio = picture.sample_aspect_ratio
    tag_colour(context, clip, choice)
    if choice.interlaced:
        context.field_order = picture.field_order
        if choice.family != "ffv1":
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    context.options = _params(choice, clip, size[0])


def colour_of(clip: Clip, choice: OutputChoice) -> Colour:
    """The colour tags of what is written.

    RGB and JPEG pictures that say no more are sRGB.  As video they must say it: browsers take no tag at all
    where one is missing, and guess matrix and range as well.
    """
    picture, stated = clip.picture, clip.picture.colour
    turned = _turns_yuv(picture.layout.name, choice.pix_fmt)
    if turned or picture.codec == "mjpeg":
        stated = dataclasses.replace(
            stated,
            primaries=_BT709 if stated.primaries == _UNSTATED else stated.primaries,
            transfer=_SRGB if stated.transfer == _UNSTATED else stated.transfer,
        )
    if turned:
        return dataclasses.replace(stated, range=1, matrix=_BT709)
    if picture.layout.range != "full":
        return stated
    return dataclasses.replace(stated, range=1 if choice.family in LIMITED else 2)


def tag_colour(made: Any, clip: Clip, choice: OutputChoice) -> None:
    """Say of a stream, or of a picture, in which colours it is written."""
    colour = colour_of(clip, choice)
    made.color_range, made.colorspace = colour.range, colour.matrix
    made.color_primaries, made.color_trc = colour.primaries, colour.transfer


@cache
def _has_avx512() -> bool:
    """Whether this processor has it (and with it everything that is named in its stead)."""
    inner = getattr(np, "_core", None) or np.core  # the latter in NumPy 1
    features = getattr(getattr(inner, "_multiarray_umath", None), "__cpu_features__", {})
    return bool(features.get("AVX512F"))


def rate_of(clip: Clip) -> Fraction:
    """Frames a second for rate control and headers; containers of millisecond times claim up to 1000."""
    rate = clip.picture.rate
    return rate if rate and 0 < rate <= 300 else Fraction(25)


def check_encoder(choice: OutputChoice, clip: Clip) -> None:
    """Open the encoder once, before the run: refuses unknown options, bad values and absent hardware."""
    context: Any = av.CodecContext.create(choice.encoder, "w")
    layout = clip.picture.layout
    configure(context, choice, clip, (layout.width, layout.height), clip.picture.time_base)
    # Names inside x264-params and its like are only complained of in the log.  It is listened to while no
    # decoder is open, and left as it was: with logging on, undrained decoders can hang for ever.
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as lines:
            open_encoder(context, choice)
    finally:
        av.logging.set_level(level)
    for _, _, text in lines:
        if found := re.search(r"(?:parsing option '?|Unknown option:? ?)([\w-]+)", text):
            raise InputError(f"--encoder-option {found[1]}: {choice.encoder} knows no such option or value")
    if ENCODERS[choice.encoder].quality == "cq":  # hardware can open and still refuse its first frame
        frame = av.VideoFrame(layout.width, layout.height, choice.pix_fmt)
        frame.pts, frame.time_base = 0, clip.picture.time_base
        try:
            context.encode(frame)
            context.encode(None)
        except av.FFmpegError as error:
            raise InputError(
                f"--codec {choice.encoder}: does not encode on this machine ({error})"
            ) from error


def open_encoder(context: Any, choice: OutputChoice) -> None:
    """Open a configured encoder, or say in one line what it does not like."""
    os.environ.setdefault("SVT_LOG", "1")
    given = ", ".join(f"{k}={v}" for k, v in choice.options.items())
    try:
        context.open()
    except av.FFmpegError as error:
        if ENCODERS[choice.encoder].quality == "cq":
            raise InputError(
                f"--codec {choice.encoder}: this machine has no hardware or driver for it ({error.strerror})"
            ) from error
        raise InputError(
            f"{choice.encoder} refuses {context.width}x{context.height} {choice.pix_fmt} with {given} "
            f"({error.strerror}); change --encoder-option, --preset or --crf"
        ) from error
    if unknown := sorted(set(context.options) & choice.asked):
        raise InputError(f"--encoder-option {unknown[0]}: {choice.encoder} knows no such option")


class Encoding:
    """Frames in, packets out, for one output stream.

    Used by the writing thread only.
    """

    def __init__(self, stream: Any, choice: OutputChoice, clip: Clip, first: Frame) -> None:
        self.stream = stream
        self._choice, self._clip = choice, clip
        self._size = (first.layout.width, first.layout.height)
        self._durations: dict[int, int] = {}
        self._count = 0
        self._reformatter = VideoReformatter()
        self._last_pts = first.pts
        # MP4 stores the steps between decoding times, so the last frame's own duration only survives where
        # that frame is also decoded last: the last two frames become P frames, and no B frame follows them.
        reorders = choice.encoder in ("libx264", "libx264rgb", "libx265")
        self._held: deque[av.VideoFrame] = deque()
        self._hold = 2 if reorders and choice.container in ("mp4", "mov") else 0
        configure(stream.codec_context, choice, clip, self._size, first.time_base)
        stream.time_base = first.time_base
        open_encoder(stream.codec_context, choice)

    def encode(self, frame: Frame) -> Iterator[Any]:
        """Packets that this frame brings to light; their frames may be earlier ones."""
        if frame.pts - self._last_pts >= 1 << 31 and self._choice.container in ("mp4", "mov"):
            raise VdeblurError(
                f"frame {frame.index} at {frame.time_s:.2f} s lies further behind the one before than MP4, "
                f"MOV and MPEG-TS can say in steps of 1/{frame.time_base.denominator} s; use a .mkv target"
            )
        self._last_pts = frame.pts
        self._count += 1
        self._durations[frame.pts] = frame.duration
        self._held.append(self._picture(frame))
        while len(self._held) > self._hold:
            yield from self._send(self._held.popleft())

    def flush(self) -> Iterator[Any]:
        """The rest."""
        while self._held:
            picture = self._held.popleft()
            picture.pict_type = PictureType.P
            yield from self._send(picture)
        yield from self._send(None)

    def _send(self, picture: av.VideoFrame | None) -> Iterator[Any]:
        for packet in self.stream.encode(picture):
            if packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration or 0)
                # While it is emptied: of what comes earlier more may follow, and be reordered.
                if picture is None and self._count <= _TOO_FEW:
                    packet.dts = packet.pts
            yield packet

    def _picture(self, frame: Frame) -> av.VideoFrame:
        """The frame as the encoder wants it; in place where the decoded picture still fits."""
        size = frame.layout.width, frame.layout.height
        assert size == self._size, "it would be scaled without a word"
        picture = written_picture(frame, self._clip, self._choice, self._reformatter)
        picture.pict_type = PictureType.NONE
        return picture


def written_picture(
    frame: Frame, clip: Clip, choice: OutputChoice, reformatter: VideoReformatter
) -> av.VideoFrame:
    """The picture of a frame in the format and the colours that are written, with the frame's time."""
    picture = picture_of(frame)
    if picture.format.name != choice.pix_fmt:
        full = colour_of(clip, choice).range == 2
        picture = converted(picture, choice.pix_fmt, frame.layout, full, reformatter)
    tag_colour(picture, clip, choice)  # ProRes asks each of them
    picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
    return picture


def converted(
    picture: av.VideoFrame, wanted: str, layout: PlaneLayout, full: bool, reformatter: VideoReformatter
) -> av.VideoFrame:
    """A picture that came in this layout in another pixel format, in full range or not."""
    if wanted.replace("yuvj", "yuv") == picture.format.name.replace("yuvj", "yuv"):
        # The same bytes under the name for the other range: swscale would change them.
        other = av.VideoFrame(picture.width, picture.height, wanted)
        for there, here in zip(views(other), views(picture), strict=True):
            there[...] = here
        return other
    old, new = shape_of(picture.format.name), shape_of(wanted)
    if old.kind == "gray" and new.kind == "yuv" and (layout.range == "full") == full:
        return _with_neutral_colour(picture, wanted, layout, old.bits - new.bits)
    if _turns_yuv(picture.format.name, wanted):
        return reformatter.reformat(picture, format=wanted, dst_colorspace=1, dst_color_range=1)
    came, goes = (2 if is_full else 1 for is_full in (layout.range == "full", full))
    return reformatter.reformat(picture, format=wanted, src_color_range=came, dst_color_range=goes)


def _turns_yuv(source: str, target: str) -> bool:
    """RGB that becomes Y'CbCr: BT.709, limited range, whatever was stated."""
    return shape_of(source).kind == "rgb" and shape_of(target).kind == "yuv"


def _with_neutral_colour(
    picture: av.VideoFrame, wanted: str, layout: PlaneLayout, fewer_bits: int
) -> av.VideoFrame:
    """Grey as Y'CbCr with the same luma (and alpha); swscale would take grey for full range."""
    other = av.VideoFrame(picture.width, picture.height, wanted)
    luma, *chroma = views(other)
    pairs = [(luma, layout.components[0])]
    if layout.alpha is not None and shape_of(wanted).alpha:
        pairs.append((chroma.pop(), layout.alpha))
    for there, place in pairs:
        plane = views(picture)[place.plane]
        here = plane if place.index is None else plane[..., place.index]
        np.copyto(there, here >> fewer_bits if fewer_bits >= 0 else here.astype(there.dtype) << -fewer_bits)
    for plane in chroma:
        plane[...] = 1 << (shape_of(wanted).bits - 1)
    return other


def picture_of(frame: Frame) -> av.VideoFrame:
    """The decoded picture that came with the frame, holding the frame's planes; a new one where it cannot."""
    side = frame.side
    fits = (
        isinstance(side, av.VideoFrame)
        and side.format.name == frame.layout.name
        and (side.width, side.height) == (frame.layout.width, frame.layout.height)
    )
    picture = side if fits else av.VideoFrame(frame.layout.width, frame.layout.height, frame.layout.name)
    for there, here in zip(views(picture), frame.planes, strict=True):
        if not _same_memory(there, here):
            np.copyto(there, here)
    if not fits:
        picture.color_range = 2 if frame.layout.range == "full" else 1  # else "yuvj" would be made limited
        if isinstance(side, av.VideoFrame):
            for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
                setattr(picture, tag, getattr(side, tag))
    return picture


def _same_memory(a: Any, b: Any) -> bool:
    return bool(
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides
    )


def _params(choice: OutputChoice, clip: Clip, width: int) -> dict[str, str]:
    """The options, with what the source says of its pictures, and silence, in the encoder's own words."""
    options = dict(choice.options)
    siting, shape = clip.picture.chroma_siting, shape_of(choice.pix_fmt)
    if siting and (shape.across, shape.down) == (2, 2):
        options.setdefault("chroma_sample_location", siting)
    if choice.encoder == "libx265":
        options.setdefault("a53cc", "1")  # closed captions, which the others write unasked
    joined = [_QUIET[choice.encoder]] if choice.encoder in _QUIET else []
    if choice.encoder in ("libx264", "libx264rgb") and -(-width // 16) % 8 and _has_avx512():
        joined.append(("x264-params", _WITHOUT_AVX512))
    if choice.interlaced and clip.picture.field_order == LOWER_FIRST and choice.family == "h264":
        joined.append(("x264-params", "bff=1"))  # else its SEI says the opposite of its slices
    joined += hdr.encoder_words(clip.picture.hdr, choice.encoder).items()
    for key, words in joined:
        options[key] = f"{words}:{options[key]}" if options.get(key) else words
    return options
