"""Tables of encoders: their words for quality and speed, what they can carry, and their pixel formats.

`CODECS` is what may stand behind --codec, `chain_of` tells which family suits a source; `encoder_options`
turns the table, the source and the user's wishes into the options of one encoder.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av

from vdeblur.errors import InputError
from vdeblur.video.clip import Clip, Picture
from vdeblur.video.shapes import shape_of


@dataclass(frozen=True, slots=True)
class Encoder:
    """One encoder: its family, its words for quality and speed, and what its bitstream can carry."""

    family: str
    quality: str | None = "crf"
    best: int = 0
    worst: int = 51
    default: int | None = None
    preset: str | None = "preset"
    default_preset: str | None = None
    presets: tuple[str, ...] = ()  # what may stand behind --preset
    capped: str | None = "maxrate"  # option that holds the rate near the source's
    hdr10: bool = False
    fields: bool = False  # interlaced pictures keep their field order
    even: bool = False  # sizes must be multiples of the chroma subsampling
    alpha: bool = False
    captions: bool = False  # closed captions that came with a picture go into its bitstream
    refused: tuple[str, ...] = ()  # formats that it lists and then does not open
    more: tuple[tuple[str, str], ...] = ()
    # Presets that may be chosen for speed: processor ms a megapixel.
    paces: tuple[tuple[str, float], ...] = ()


def _digits(first: int, last: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(first, last + 1))


_X26 = tuple("ultrafast superfast veryfast faster fast medium slow slower veryslow placebo".split())  # noqa: SIM905
_NVENC = ("p1", "p2", "p3", "p4", "p5", "p6", "p7")
ENCODERS = {
    # Paces: 640x360, photographs with noise, Zen 5 (a later lap: docs/benchmarks.md). What is faster than the
    # last preset of a row makes files several times as large.
    "libx264": Encoder(
        "h264",
        default=18,
        default_preset="medium",
        presets=_X26,
        hdr10=True,
        fields=True,
        even=True,
        captions=True,
        paces=(("medium", 43), ("fast", 36), ("faster", 26), ("veryfast", 14)),
    ),
    "libx264rgb": Encoder(
        "h264", default=18, default_preset="medium", presets=_X26, hdr10=True, fields=True, captions=True
    ),
    # x265 writes interlaced pictures only as separate fields: whole frames lose their field order.
    "libx265": Encoder(
        "hevc",
        default=20,
        default_preset="fast",
        presets=_X26,
        hdr10=True,
        even=True,
        captions=True,
        paces=(("fast", 45), ("faster", 36), ("superfast", 22)),
    ),
    "libsvtav1": Encoder(
        "av1",
        best=1,
        worst=63,
        default=24,
        default_preset="8",
        presets=_digits(0, 13),
        hdr10=True,
        paces=(("8", 29), ("9", 20), ("10", 16), ("11", 12.5)),
    ),
    "libvpx-vp9": Encoder(
        "vp9",
        worst=63,
        default=24,
        preset="cpu-used",
        default_preset="3",
        presets=_digits(0, 8),
        capped="b",
        alpha=True,
        refused=("yuva422p", "yuva444p", "gbrap"),
        more=(("row-mt", "1"), ("deadline", "good")),
    ),
    "ffv1": Encoder(
        "ffv1",
        quality=None,
        preset=None,
        capped=None,
        fields=True,
        alpha=True,
        more=(("level", "3"), ("slicecrc", "1"), ("g", "1")),
    ),
    "prores_ks": Encoder(
        "prores", quality=None, preset=None, capped=None, fields=True, alpha=True, more=(("vendor", "apl0"),)
    ),
    "h264_nvenc": Encoder(
        "h264", quality="cq", default=19, default_preset="p5", presets=_NVENC, even=True, captions=True
    ),
    "hevc_nvenc": Encoder(
        "hevc", quality="cq", default=21, default_preset="p5", presets=_NVENC, even=True, captions=True
    ),
    "av1_nvenc": Encoder("av1", quality="cq", worst=63, default=24, default_preset="p5", presets=_NVENC),
}
# What may stand behind --codec, and the encoders tried for it in this order.
CODECS = {
    "h264": ("libx264", "libx264rgb"),
    "h265": ("libx265",),
    "hevc": ("libx265",),
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "ffv1": ("ffv1",),
    "prores": ("prores_ks",),
    **{name: (name,) for name in ENCODERS if name != "ffv1"},
}
# The source's codec -> families in order of preference.
_CHAINS = {
    "h264": ("h264", "hevc", "vp9", "ffv1"),
    "hevc": ("hevc", "h264", "vp9", "ffv1"),
    "av1": ("av1", "hevc", "h264", "vp9", "ffv1"),
    "vp9": ("vp9", "av1", "hevc", "h264", "ffv1"),
    "vp8": ("vp9", "av1", "hevc", "h264", "ffv1"),
    "prores": ("prores", "hevc"),
    **dict.fromkeys(["ffv1", "gif", "apng", "png", "qtrle"], ("ffv1",)),
}
DEFAULT_CHAIN = ("h264", "hevc", "vp9", "av1", "ffv1")
_HDR_CHAIN = ("hevc", "av1", "h264", "ffv1")
_INTRA, _LOSSY, _LOSSLESS = 1, 2, 4  # AV_CODEC_PROP_*
_PRORES_PROFILES = {
    "apco": "proxy",
    "apcs": "lt",
    "apcn": "standard",
    "apch": "hq",
    "ap4h": "4444",
    "ap4x": "4444xq",
}
_PQ_HLG = (16, 18)
LIMITED = frozenset({"prores"})  # families that have no word for full range
# The encoder may use this multiple of the source's video rate: the file stays below twice its size.
RATE_CAP = 1.8


WORDS = {"h264": "H.264", "hevc": "H.265", "av1": "AV1", "vp9": "VP9", "ffv1": "FFV1", "prores": "ProRes"}


@dataclass(frozen=True, slots=True)
class OutputChoice:
    """What will be written; `notes` says everything that will be lost or changed."""

    suffix: str
    container: str
    container_options: dict[str, str]
    family: str
    encoder: str
    pix_fmt: str
    options: dict[str, str]
    notes: tuple[str, ...] = ()
    interlaced: bool = False
    by_program: bool = False  # encoded by the user's own ffmpeg
    asked: frozenset[str] = field(default_factory=frozenset)  # keys of `options` that the user gave


@cache
def formats_of(encoder: str) -> tuple[str, ...]:
    """Pixel formats that we give to this encoder: at least 8 bits, no floats, no hardware surfaces."""
    names = [f.name for f in av.codec.Codec(encoder, "w").video_formats or ()]
    table = ENCODERS[encoder]
    unfit = ("cuda", "pal8", "bayer", "msble", "x2", "f16", "f32", "rgb0", "nv20")
    return tuple(
        name
        for name in names
        if not any(word in name for word in unfit)
        and name not in table.refused
        and (table.alpha or not shape_of(name).alpha)
    )


def family_of(encoder: str) -> str | None:
    """The family of an encoder of somebody's ffmpeg, from its name (h264_vaapi, libaom-av1, ...)."""
    plain = encoder.replace("x264", "h264").replace("x265", "hevc").replace("h265", "hevc")
    return next((family for family in WORDS if family in plain), None)


def chain_of(picture: Picture) -> tuple[str, ...]:
    """Families that suit a source, best first.

    What is lossless picture by picture stays so.  Screen recorders' codecs (ZMBV, Flash Screen Video) store
    only what changes, beside which FFV1 is twenty times as large.
    """
    if chain := _CHAINS.get(picture.codec):
        return chain
    with suppress(av.codec.codec.UnknownCodecError):
        known = int(av.codec.Codec(picture.codec, "r").properties)
        if known & (_INTRA | _LOSSY | _LOSSLESS) == _INTRA | _LOSSLESS:
            return ("ffv1",)
    return _HDR_CHAIN if picture.colour.transfer in _PQ_HLG else DEFAULT_CHAIN


def encoder_options(
    clip: Clip, table: Encoder, pix_fmt: str, crf: int | None, preset: str | None
) -> dict[str, str]:
    """Quality, speed, and a ceiling for the rate that follows from the source's."""
    options = dict(table.more)
    if crf is not None and table.quality is None:
        raise InputError(f"--crf {crf}: {WORDS[table.family]} has no such quality setting; leave it out")
    if crf is not None and not table.best <= crf <= table.worst:
        raise InputError(f"--crf {crf}: {WORDS[table.family]} takes {table.best} (best) to {table.worst}")
    if preset is not None and table.preset is None:
        raise InputError(f"--preset {preset}: {WORDS[table.family]} has no presets; leave it out")
    if preset is not None and preset not in table.presets:
        raise InputError(f"--preset {preset}: {WORDS[table.family]} takes {', '.join(table.presets)}")
    if table.quality and (quality := crf if crf is not None else table.default) is not None:
        options[table.quality] = str(quality)
    if table.preset and (speed := preset or table.default_preset):
        options[table.preset] = speed
    if table.capped == "b":
        options["b"] = "0"
    if table.capped and crf is None and (rate := source_bit_rate(clip)):
        cap = round(rate * RATE_CAP)
        options[table.capped] = str(cap)
        if table.capped == "maxrate" and table.family != "av1":
            options["bufsize"] = str(cap)
    if table in (ENCODERS["libx264"], ENCODERS["libx264rgb"], ENCODERS["libx265"]):
        options["g"] = str(_key_interval(clip.picture.rate))
    if table.family == "prores":
        options["profile"] = _prores_profile(clip.picture, pix_fmt)
    return options


def preset_for_pace(table: Encoder, megapixels_s: float, cores: float) -> str | None:
    """The first preset with which the cores encode so much, else the fastest; None: the default will do."""
    if not table.paces:
        return None
    keeps_up = [preset for preset, ms in table.paces if ms * megapixels_s <= 1000 * cores]
    preset = keeps_up[0] if keeps_up else table.paces[-1][0]
    return None if preset == table.default_preset else preset


def _key_interval(rate: Fraction | None) -> int:
    """Frames in 10 s, at least 250, which is where these encoders would put a key frame by themselves.

    A segment (`video.segments`) is twice as long; a key frame shortly before its end would be for nothing.
    """
    return max(250, math.ceil(10 * rate)) if rate and rate <= 300 else 250


def source_bit_rate(clip: Clip) -> int | None:
    """Bits a second of the source's video as far as something trustworthy says it, else None.

    A figure that would leave less than a hundredth of a bit for a pixel comes from a wrong duration.
    """
    picture = clip.picture
    stated = [picture.bit_rate]
    own = next((s for s in clip.streams if s.index == picture.index), None)
    if own is not None:
        stated += [int(v) for k, v in own.metadata.items() if k.upper().startswith("BPS") and v.isdigit()]
    if clip.size_bytes and picture.duration_from_header_s:
        stated.append(round(8 * clip.size_bytes / picture.duration_from_header_s))
    stated.append(clip.bit_rate)
    rate = picture.rate or Fraction(25)
    floor = 0.01 * picture.layout.width * picture.layout.height * min(float(rate), 240.0)
    return next((value for value in stated if value and value >= floor), None)


def _prores_profile(picture: Picture, pix_fmt: str) -> str:
    wants_444 = shape_of(pix_fmt).across == 1
    known = _PRORES_PROFILES.get(picture.codec_tag)
    if known and known.startswith("4444") == wants_444:
        return known
    return "4444" if wants_444 else "hq"
