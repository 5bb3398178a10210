"""What is written: tables of containers, encoders and pixel formats, and the one choice made from them.

`choose_output` takes the picture as it will be written and finds the container, the encoder and the pixel
format that lose least; whatever is lost all the same stands in `OutputChoice.notes`, so that it is said
before the run.  An impossible pair is an InputError, and so is an option that the encoder refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from av.stream import Disposition

from vdeblur.errors import InputError, presentable
from vdeblur.video import tags
from vdeblur.video.clip import Clip, Picture
from vdeblur.video.encoders import (
    CODECS,
    DEFAULT_CHAIN,
    ENCODERS,
    LIMITED,
    WORDS,
    OutputChoice,
    chain_of,
    family_of,
    formats_of,
    preset_for_pace,
)
from vdeblur.video.encoders import encoder_options as table_options
from vdeblur.video.encoding import check_encoder, rate_of
from vdeblur.video.restarts import CONCATENATED
from vdeblur.video.shapes import nearest_format, shape_of
from vdeblur.video.transport import has_form_of_discs


@dataclass(frozen=True, slots=True)
class Container:
    """A file type that can be written; `codecs` are the families that it holds."""

    muxer: str
    codecs: frozenset[str]
    matrix: bool = True  # holds a display matrix (rotation)


_ALL = frozenset({"h264", "hevc", "av1", "vp9", "ffv1", "prores"})
_MP4 = Container("mp4", frozenset({"h264", "hevc", "av1", "vp9"}))
_TS = Container("mpegts", frozenset({"h264", "hevc"}), matrix=False)
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", frozenset({"h264", "hevc", "prores"})),
    ".mkv": Container("matroska", _ALL),
    ".webm": Container("webm", frozenset({"vp9", "av1"})),
    ".ts": _TS,
    ".m2ts": _TS,
    ".mts": _TS,
}
# Sources that are no container of ours: what is written instead, best first.
_INSTEAD = {".mxf": (".mov", ".mkv"), ".3gp": (".mp4", ".mkv"), ".3g2": (".mp4", ".mkv"), ".f4v": (".mp4",)}
_MP4S = (".mp4", ".m4v", ".3gp", ".3g2")
_SPEECH = frozenset({"amr_nb", "amr_wb"})  # the sound of old phones, which FFmpeg's MP4 refuses and MOV takes
_BY_FORMAT = {"mov,mp4,m4a,3gp,3g2,mj2": ".mp4", "matroska,webm": ".mkv", "mpegts": ".ts", "mxf": ".mxf"}


def choose_output(
    clip: Clip,
    target: Path | None,
    *,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    encoder_options: dict[str, str] | None = None,
    deinterlace: bool = False,
    encoder: str = "auto",
    pace: tuple[float, float] | None = None,
) -> OutputChoice:
    """Container, encoder, pixel format and options for this clip.

    `target` None leaves the container free (the source's own first); a target with a suffix binds it.
    `encoder` "ffmpeg" writes with the user's own binary: names of its encoders are welcome behind `codec`.
    `pace` (megapixels a second, cores for it): what the encoder shall keep up with if no preset is asked.
    Raises InputError for an unknown codec or container and for pairs that cannot work.
    """
    interlaced = clip.picture.interlaced and not deinterlace
    suffixes = _suffixes(clip, target)
    candidates = list(_candidates(clip.picture, suffixes, codec, interlaced, encoder, target is not None))
    if not candidates:
        raise InputError(_impossible(clip.picture, suffixes, codec))
    best = min(candidates, key=lambda c: (c.lost_weight, candidates.index(c)))
    table = ENCODERS[best.encoder]
    container = CONTAINERS[best.suffix]
    notes = [*_container_notes(clip, target, best.suffix, container), *best.lost]
    is_free = preset is None and "preset" not in (encoder_options or {})
    by_pace = preset_for_pace(table, *pace) if pace and is_free else None
    if by_pace:
        notes.append(
            f"encoded with preset {by_pace} to keep up with the rest on these cores; "
            f"--preset {table.default_preset} is slower and better for its size"
        )
    foreign = encoder == "ffmpeg" and codec is not None and codec not in CODECS
    if foreign:  # an encoder of the user's own ffmpeg, whose words we do not know
        options = {k: str(v) for k, v in (("crf", crf), ("preset", preset)) if v is not None}
    else:
        options = table_options(clip, table, best.pix_fmt, crf, preset or by_pace)
        if container.muxer == "mpegts":  # has no index: who enters anywhere waits for the next key frame
            options["g"] = str(math.ceil(rate_of(clip)))
    asked = dict(encoder_options or {})
    for key, value in asked.items():
        joined = key.endswith("-params") and key in options
        options[key] = f"{options[key]}:{value}" if joined else value
    if best.family == "ffv1" and "ffv1" not in chain_of(clip.picture):
        notes.append("FFV1 loses nothing but makes a file many times as large")
    is_new = best.family != clip.picture.codec and best.family in ("h264", "hevc")
    if is_new and shape_of(best.pix_fmt).kind == "rgb":
        notes.append(f"few players show {WORDS[best.family]} that holds RGB; --codec av1 writes 4:2:0")
    choice = OutputChoice(
        suffix=best.suffix,
        container=container.muxer,
        container_options=container_options(clip, best.suffix),
        family=best.family,
        encoder=codec if foreign and codec else best.encoder,
        pix_fmt=best.pix_fmt,
        options=options,
        notes=tuple(dict.fromkeys(notes)),
        interlaced=interlaced and table.fields,
        by_program=encoder == "ffmpeg",
        asked=frozenset(asked),
    )
    by_hand = asked or preset is not None or codec in ENCODERS  # one by its name may need hardware
    if encoder == "ffmpeg":
        from vdeblur.video.ffmpeg import check_binary_has

        check_binary_has(choice.encoder)
    elif by_hand:
        check_encoder(choice, clip)
    return choice


def container_options(clip: Clip, suffix: str) -> dict[str, str]:
    """Muxer options: the form of MPEG-TS; of MP4 and MOV index in front, exact times, and room for tags that
    the plain boxes do not know."""
    muxer = CONTAINERS[suffix].muxer
    if muxer == "mpegts":
        of_discs = has_form_of_discs(suffix, (s.codec for s in clip.streams))
        return {"mpegts_m2ts_mode": str(int(of_discs))}
    if muxer not in ("mp4", "mov"):
        return {}
    video = clip.picture.time_base.denominator
    others = [s.time_base.denominator for s in clip.streams if s.kind == "audio" and s.time_base]
    both = math.lcm(video, *others)
    # A late start is written in movie time: a scale that divides every stream's own is exact for all.
    movie = both if both <= 10_000_000 else video
    flags = "+faststart"
    if tags.without_box(muxer, clip.tags) and not _keeps_cover(clip, muxer):
        flags += "+use_metadata_tags"
    return {"movflags": flags, "movie_timescale": str(movie), "video_track_timescale": str(video)}


def _keeps_cover(clip: Clip, muxer: str) -> bool:
    return muxer == "mp4" and any(stream.is_cover for stream in clip.streams)


@dataclass(frozen=True, slots=True)
class _Candidate:
    suffix: str
    family: str
    encoder: str
    pix_fmt: str
    lost: tuple[str, ...]
    lost_weight: int


def _candidates(
    picture: Picture,
    suffixes: tuple[str, ...],
    codec: str | None,
    interlaced: bool,
    backend: str,
    bound: bool,
) -> Iterator[_Candidate]:
    for suffix in suffixes:
        container = CONTAINERS[suffix]
        for name in _encoders(picture, codec, backend, bound):
            table = ENCODERS[name]
            if table.family not in container.codecs:
                continue
            formats = formats_of(name)
            if table.family == "vp9" and container.muxer not in ("matroska", "webm"):
                formats = tuple(f for f in formats if not shape_of(f).alpha)  # it travels beside the stream
            pix_fmt, lost = nearest_format(picture.layout.name, formats)
            if name == "libx264rgb" and shape_of(picture.layout.name).kind != "rgb":
                continue
            form, layout = shape_of(pix_fmt), picture.layout
            if table.even and (layout.width % form.across or layout.height % form.down):
                continue
            if layout.height % 4 and interlaced and table.even and form.down == 2:
                continue
            lost = dict(lost)
            if table.family == picture.codec == "prores":  # for editors 12 bits of H.265 are no gain
                lost = dict.fromkeys(lost, 0)
            if picture.hdr.mastering and not table.hdr10:
                lost["HDR10 mastering data is lost"] = 40
            elif picture.hdr.light and not table.hdr10:
                lost["HDR10 light levels are lost"] = 40
            if layout.range == "full" and layout.kind != "rgb" and table.family in LIMITED:
                lost["full range becomes limited range, which rounds every pixel"] = 90
            if picture.captions and (backend == "ffmpeg" or not table.captions):
                lost["closed captions inside the pictures are lost"] = 30
            if interlaced and not table.fields:
                lost["the field order of interlaced pictures is lost"] = 80
            if picture.display_matrix and not container.matrix:
                lost["the rotation is lost"] = 90
            words = tuple(f"{WORDS[table.family]} in {suffix[1:]}: {word}" for word in lost)
            yield _Candidate(suffix, table.family, name, pix_fmt, words, sum(lost.values()))


def _encoders(picture: Picture, codec: str | None, backend: str, bound: bool) -> tuple[str, ...]:
    """Names of ENCODERS to try, best first."""
    if codec is not None:
        if codec in CODECS:
            return CODECS[codec]
        if backend == "ffmpeg" and (family := family_of(codec)):
            return CODECS[family]
        known = ", ".join(sorted(k for k in CODECS if not k.startswith(("lib", "prores_"))))
        raise InputError(f"--codec {codec}: not a codec that can be written here; choose one of {known}")
    chain = chain_of(picture)
    # A container that was asked for may hold none of them.
    families = dict.fromkeys((*chain, *DEFAULT_CHAIN) if bound else chain)
    return tuple(name for family in families for name in CODECS[family])


def _suffixes(clip: Clip, target: Path | None) -> tuple[str, ...]:
    """The containers to choose from, best first."""
    if target is not None:
        suffix = target.suffix.lower()
        if suffix in CONTAINERS:
            return (suffix,)
        known = ", ".join(CONTAINERS)
        if not suffix:
            raise InputError(
                f"{target}: has no suffix at all; use one of {known}, or make it first if it is a folder"
            )
        raise InputError(f"{target.name}: no video can be written as {suffix}; use one of {known}")
    own = own_suffix(clip)
    if own in _MP4S and any(s.codec in _SPEECH or s.is_foreign_pcm for s in clip.streams):
        return (".mov", ".mkv")
    if own in CONTAINERS:
        return (own, ".mkv") if own != ".mkv" else (own,)
    return _INSTEAD.get(own, (".mkv",))


def own_suffix(clip: Clip) -> str:
    """The suffix of the source, or what its container is called where it has none (pipes, URLs)."""
    suffix = "" if "://" in clip.source or clip.source == "-" else Path(clip.source).suffix.lower()
    return suffix or _BY_FORMAT.get(clip.container, "")


def _impossible(picture: Picture, suffixes: tuple[str, ...], codec: str | None) -> str:
    suffix, layout = suffixes[0], picture.layout
    families = CONTAINERS[suffix].codecs
    family = ENCODERS[CODECS[codec][0]].family if codec in CODECS else family_of(codec or "")
    if codec and family not in families:
        holders = ", ".join(s for s, c in CONTAINERS.items() if family in c.codecs)
        others = ", ".join(sorted(families))
        return f"--codec {codec}: {suffix} files cannot hold it; use {holders}, or one of {others}"
    if layout.width % 2 or layout.height % 2:
        return (
            f"{f'--codec {codec}' if codec else f'{suffix} files'}: only even sizes, not {layout.width}x"
            f"{layout.height} {layout.name}; use --codec vp9, av1 or ffv1 with a .mkv target"
        )
    size = f"{layout.name} pictures of {layout.width}x{layout.height}"
    if codec:
        return f"--codec {codec}: writes no {size}; leave it out"
    return f"{suffix} files cannot hold {size}; use a .mkv target"


def _container_notes(clip: Clip, target: Path | None, suffix: str, container: Container) -> Iterator[str]:
    own = own_suffix(clip)
    if target is None and own != suffix:
        for_sound = own in _MP4S and suffix == ".mov"
        why = "hold such sound for few players" if for_sound else "cannot take the result"
        yield f"{own[1:] or clip.container} files {why}: written as {suffix[1:]}"
    if container.muxer in ("matroska", "webm") and 1000 % clip.picture.time_base.denominator:
        yield f"{suffix[1:]} stores times in milliseconds: every time is rounded to the nearest"
    created = clip.tags.get("creation_time")
    if created and container.muxer in ("matroska", "webm") and tags.moment(created) is None:
        yield f"{suffix[1:]} files take no such time of creation: {presentable(created)}"
    if container.muxer == "mpegts":
        yield "ts files shift all times by a constant and hold no frame durations"
    elif clip.container in CONCATENATED:
        yield f"the recording's own clock is not kept: {suffix[1:]} files begin at zero"
    names = tags.without_box(container.muxer, clip.tags) if container.muxer in ("mp4", "mov") else ()
    if names and _keeps_cover(clip, container.muxer):
        yield f"cannot be carried beside a cover picture: the tags {', '.join(names)}; .mkv keeps both"
    own_stream = next((s for s in clip.streams if s.index == clip.picture.index), None)
    if own_stream is not None and own_stream.disposition & Disposition.multilayer:
        yield "cannot be carried: further views of a multi-view picture, only the base view is written"
    if clip.picture.hdr.dynamic:
        yield f"cannot be carried: {', '.join(clip.picture.hdr.dynamic)}"
