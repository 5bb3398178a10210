"""What a video file says of itself and what a look inside found, as values; nobody asks it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from vdeblur.errors import BrokenSourceError
from vdeblur.frame import PlaneLayout
from vdeblur.video.source import shown_name

LOWER_FIRST = 3
"""FFmpeg's AV_FIELD_BB, of `Picture.field_order`"""
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
        if self.broken is not None:
            raise broken_source(self.source, self.broken, self.broken_at_s)


def broken_source(source: str, why: str, at_s: float | None) -> BrokenSourceError:
    """The error for a source that ends too early, `at_s` seconds after its start."""
    when = "" if at_s is None else f" at {at_s:.2f} s"
    return BrokenSourceError(
        f"{shown_name(source)}: breaks off{when} ({why}); --keep-partial takes what is there", at_s
    )
