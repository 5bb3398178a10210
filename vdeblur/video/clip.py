"""What a video file says of itself and what a look inside found, as values; nobody asks the container again."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from vdeblur.frame import PlaneLayout

StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a container, whatever its kind; `codec` is None where FFmpeg has no decoder."""

    index: int
    kind: StreamKind
    codec: str | None
    codec_tag: str
    language: str | None
    title: str | None
    disposition: int
    metadata: dict[str, str]
    time_base: Fraction | None
    is_cover: bool = False


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour tags as FFmpeg's enumerations (ITU-T H.273 numbers); 2 is "unspecified" (range: 0)."""

    range: int
    matrix: int
    primaries: int
    transfer: int
    chroma_location: int = 0


@dataclass(frozen=True, slots=True)
class Hdr:
    """HDR data of the first frame, as FFmpeg's raw side data; `dynamic` names what cannot be carried."""

    mastering: bytes | None = None
    light: bytes | None = None
    dynamic: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """The video stream that is deblurred, seen through its first decoded frame.

    pix_fmt        FFmpeg's name of what the decoder gives
    layout         how frames reach the engine (pix_fmt itself, or the lossless planar form of packed formats)
    rate           frames a second from the header (average, else guessed), None where there is none
    frames_from_header, duration_from_header_s   claims, never trusted; for progress bars and estimates
    first_pts      of the first decoded frame, in time_base units; None where the stream has no times
    display_matrix 36 bytes (nine little-endian int32), or None; the picture is never rotated
    field_order    FFmpeg's AVFieldOrder: 0 unknown, 1 progressive, 2 top first, 3 bottom first
    """

    index: int
    codec: str
    codec_tag: str
    pix_fmt: str
    layout: PlaneLayout
    time_base: Fraction
    rate: Fraction | None
    frames_from_header: int | None
    duration_from_header_s: float | None
    first_pts: int | None
    bit_rate: int | None
    sample_aspect_ratio: Fraction | None
    display_matrix: bytes | None
    rotation: int
    field_order: int
    interlaced: bool
    colour: Colour
    hdr: Hdr
    has_alpha: bool
    has_b_frames: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """A readable source: file path, URL, "-" or a folder/pattern of pictures (`pictures` lists the files then)."""

    source: str
    container: str
    streams: tuple[Stream, ...]
    picture: Picture
    chapters: int
    tags: dict[str, str]
    bit_rate: int | None
    size_bytes: int | None
    warnings: tuple[str, ...] = ()
    pictures: tuple[str, ...] = field(default=())
