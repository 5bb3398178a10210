"""What two files may differ in because a container or codec cannot hold more: one table, a reason for each.

`verify` asks it about every difference: what stands here is a note, everything else is damage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.stream import Disposition

from vdeblur.video.clip import Picture
from vdeblur.video.contents import Contents, Track
from vdeblur.video.languages import language_for, same_language
from vdeblur.video.tags import (
    OF_TRACKS,
    container_tags,
    in_boxes,
    marks,
    marks_kept,
    moment,
    without_box,
)
from vdeblur.video.transport import held_by_ts

# How far a time may be off: what the container counts in.  MP4 and MOV take any clock and are exact.
CLOCKS = {"mov": Fraction(0), "matroska": Fraction(1, 1000), "mpegts": Fraction(1, 90000)}
# Of copied packets: MP4 stores where a stream begins in the film's own, possibly coarser, clock.
OTHER_CLOCKS = {"mov": Fraction(1, 1000), "matroska": Fraction(2, 1000), "mpegts": Fraction(1, 1000)}
UNKNOWN_CLOCK = Fraction(2, 1000)

_PICTURE_TEXT = frozenset({"dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "xsub", "dvb_teletext"})


@dataclass(frozen=True, slots=True)
class Case:
    """One difference: between two files, maybe between two streams of theirs (`new` None where there is
    none), maybe about one tag."""

    a: Contents
    b: Contents
    old: Track
    new: Track | None
    key: str = ""

    @property
    def into(self) -> str:
        """The family of the result's container: mov, matroska, mpegts, ..."""
        return family(self.b.container)

    @property
    def suffix(self) -> str:
        """Of the result."""
        return Path(self.b.source).suffix.lower()

    @property
    def muxer(self) -> str:
        """FFmpeg's name of what may have written the result."""
        if self.suffix in (".mov", ".webm"):
            return self.suffix[1:]
        return "mp4" if self.into == "mov" else self.into

    @property
    def pictures(self) -> tuple[Picture, Picture]:
        """Before and after, for differences between them."""
        assert self.a.picture is not None
        assert self.b.picture is not None
        return self.a.picture, self.b.picture

    @property
    def value(self) -> str:
        """Of the tag in the source."""
        return self.tags[0].get(self.key, "")

    @property
    def found(self) -> str | None:
        """The same in the result."""
        return tag(self.tags[1], self.key)

    @property
    def tags(self) -> tuple[dict[str, str], dict[str, str]]:
        """Before and after: of the two streams, or of the two files."""
        if self.new is None:
            return self.a.tags, self.b.tags
        return self.old.tags, self.new.tags


@dataclass(frozen=True, slots=True)
class Limit:
    """A difference that is none of the program's doing; `silent` where nobody would miss anything."""

    reason: str
    holds: Callable[[Case], bool]
    silent: bool = False


def limit(what: str, case: Case) -> Limit | None:
    """The entry of the table that explains a difference in this respect."""
    return next((entry for entry in LIMITS.get(what, ()) if entry.holds(case)), None)


def family(container: str) -> str:
    """FFmpeg's list of names as one: `mov,mp4,m4a,...` is mov, `matroska,webm` matroska."""
    return container.split(",")[0]


def tag(tags: dict[str, str], key: str) -> str | None:
    """A tag's value; Matroska writes names in capitals, with underscores for blanks."""
    plain = {name.lower().replace(" ", "_"): value for name, value in tags.items()}
    return plain.get(key.lower().replace(" ", "_"))


def _place(location: str) -> list[float]:
    return [round(float(number), 3) for number in re.findall(r"[+-][0-9.]+", location)]


def _same_place(case: Case) -> bool:
    is_there = case.key.lower() == "location" and case.found is not None
    return is_there and _place(case.found or "") == _place(case.value)


def _same_second(case: Case) -> bool:
    before, after = moment(case.value), moment(case.found or "")
    if case.key != "creation_time" or before is None or after is None:
        return False
    return before.replace(microsecond=0) == after.replace(microsecond=0)


def _named_alike(case: Case) -> bool:
    return case.key == "language" and same_language(case.found or "und", case.value)


def _unnamed(case: Case) -> bool:
    gone = case.key == "language" and case.found in (None, "und")
    return gone and language_for(case.muxer, case.value) is None


def _beside_a_cover(case: Case) -> bool:
    has_cover = case.muxer == "mp4" and any(track.kind == "cover" for track in case.a.others)
    return has_cover and case.new is None and case.key in without_box("mp4", case.a.tags)


def _shown_width_off(old: Picture, new: Picture) -> Fraction:
    """In pixels, of the size of the result."""
    off = Fraction(old.sample_aspect_ratio or 1) - Fraction(new.sample_aspect_ratio or 1)
    return abs(off) * new.layout.width


def _marked_as_can_be(case: Case) -> bool:
    """Whether a stream has all its marks for which there is a place, under one name or the other."""
    assert case.new is not None
    had, has = marks(case.old.disposition), marks(case.new.disposition)
    if case.into == "mov" and has & Disposition.default and _alone_default(case):
        had |= Disposition.default
    return not (had ^ has) & marks_kept(case.muxer)


def _alone_default(case: Case) -> bool:
    """Whether it is the first of its kind, and no other one is default: MP4 and MOV mark it then."""
    alike = [t for t in (case.b.video, *case.b.others) if case.new is not None and t.kind == case.new.kind]
    marked = [t.index for t in alike if t.disposition & Disposition.default]
    return marked == [min(t.index for t in alike)]


def _marks_missing(case: Case) -> bool:
    return bool(marks(case.old.disposition) & ~marks_kept(case.muxer))


def _only_views(case: Case) -> bool:
    assert case.new is not None
    changed = Disposition(case.old.disposition ^ case.new.disposition)
    return changed & ~Disposition.default == Disposition.multilayer


LIMITS: dict[str, tuple[Limit, ...]] = {
    "rotation": (
        Limit("MPEG-TS has no place for it", lambda c: c.into == "mpegts"),
        Limit(
            "Matroska keeps the turn, not the shift of the turned picture, which players ignore",
            lambda c: (
                c.into == "matroska"
                and c.pictures[1].display_matrix is not None
                and c.pictures[0].rotation == c.pictures[1].rotation
            ),
            silent=True,
        ),
    ),
    "aspect": (
        Limit(
            "Matroska says how wide a picture is shown in whole pixels",
            lambda c: c.into == "matroska" and _shown_width_off(*c.pictures) <= 1,
            silent=True,
        ),
    ),
    "colour": (
        Limit("ProRes knows limited range only", lambda c: c.key == "range" and c.b.video.codec == "prores"),
    ),
    "transparency": (
        Limit(
            "the codec holds none there",
            lambda c: (
                c.b.video.codec not in ("ffv1", "prores", "vp9", "vp8")
                or (c.into == "mov" and c.b.video.codec != "prores")
            ),
        ),
    ),
    "HDR10 data": (
        Limit(
            "the codec has no place for it",
            lambda c: c.b.video.codec in ("ffv1", "prores", "vp9", "vp8", "mjpeg", "mpeg4", "dnxhd"),
        ),
    ),
    "data of single pictures": (Limit("not every encoder writes them", lambda c: True),),
    "chroma siting": (Limit("not every encoder writes it", lambda c: True),),
    "fields": (
        Limit(
            "the codec or its encoder knows whole pictures only",
            lambda c: c.b.video.codec not in ("h264", "prores", "ffv1"),
        ),
    ),
    "times": (
        Limit(
            "the source's own are missing or go backwards, so they are made", lambda c: c.key == "unordered"
        ),
    ),
    "last duration": (
        Limit(
            "MPEG-TS stores none, and FFmpeg shows none of VP9 in MP4",
            lambda c: (
                c.into == "mpegts" or (c.into == "mov" and (c.b.video.codec == "vp9" or c.old.codec == "vp9"))
            ),
            silent=True,
        ),
    ),
    "stream": (
        Limit(
            "attachments are kept by Matroska only",
            lambda c: c.old.kind == "attachment" and (c.into != "matroska" or c.suffix == ".webm"),
        ),
        Limit(
            "cover pictures are kept by MP4 and Matroska only",
            lambda c: c.old.kind == "cover" and c.muxer not in ("mp4", "matroska"),
        ),
        Limit(
            "written anew from the timecode tag", lambda c: c.old.kind == "data" and "timecode" in c.old.tags
        ),
        Limit(
            "written anew from the chapters",
            lambda c: c.old.kind == "data" and bool(c.a.chapters) and c.old.codec == "bin_data",
        ),
        Limit(
            "data streams are kept by MP4, MOV and MPEG-TS only",
            lambda c: c.old.kind == "data" and c.into not in ("mov", "mpegts"),
        ),
        Limit(
            "FFmpeg knows no such data, and its muxers refuse it",
            lambda c: c.old.kind == "data" and c.old.codec is None,
        ),
        Limit(
            "this form of MPEG-TS holds no such stream",
            lambda c: (
                c.old.kind in ("audio", "subtitle")
                and c.into == "mpegts"
                and c.old.codec not in held_by_ts(c.suffix, (track.codec for track in c.a.others))
            ),
        ),
        Limit(
            "WebM holds Opus and Vorbis only",
            lambda c: c.old.kind == "audio" and c.suffix == ".webm" and c.old.codec not in ("opus", "vorbis"),
        ),
        Limit(
            "the container holds no such picture subtitles",
            lambda c: (
                c.old.kind == "subtitle"
                and c.old.codec in _PICTURE_TEXT
                and (c.into == "mov" or c.suffix == ".webm")
            ),
        ),
    ),
    "chapters": (Limit("MPEG-TS holds none", lambda c: c.into == "mpegts"),),
    "disposition": (
        Limit("no encoder here writes several views", _only_views),
        Limit(
            "MP4 and MOV mark the first of each kind where nothing is marked, and some marks have two names",
            lambda c: _marked_as_can_be(c) and not _marks_missing(c),
            silent=True,
        ),
        Limit("the container has no place for such marks", _marked_as_can_be),
    ),
    "tag": (
        Limit(
            "about the encoding and not about the film: every program makes it for itself; or shown twice",
            lambda c: c.key not in container_tags(c.tags[0]),
            silent=True,
        ),
        Limit(
            "the same as no language at all", lambda c: c.key == "language" and c.value == "und", silent=True
        ),
        Limit("the same place, as fixed point numbers", _same_place, silent=True),
        Limit("the other code of the same language (ISO 639-2)", _named_alike, silent=True),
        Limit("the container cannot name this language", _unnamed),
        Limit("the same time in UTC, of which MP4 and MOV count whole seconds", _same_second, silent=True),
        Limit(
            "MP4 and MOV read a stream's title back as its name",
            lambda c: (
                c.key in ("name", "title") and c.value in (tag(c.tags[1], "title"), tag(c.tags[1], "name"))
            ),
            silent=True,
        ),
        Limit(
            "it stands in the tags of the file",
            lambda c: c.new is not None and c.key == "creation_time" and c.value == tag(c.a.tags, c.key),
            silent=True,
        ),
        Limit(
            "shown of other streams because of the timecode track",
            lambda c: c.key == "timecode" and c.old.kind != "video",
            silent=True,
        ),
        Limit("MP4 and MOV keep a cover picture or tags of any name, not both", _beside_a_cover),
        Limit(
            "MPEG-TS keeps the language of sound only",
            lambda c: c.into == "mpegts" and (c.key != "language" or c.old.kind != "audio"),
        ),
        Limit(
            "MP4 and MOV have no place for it in a stream",
            lambda c: c.new is not None and c.into == "mov" and c.key not in OF_TRACKS,
        ),
        Limit(
            "the container takes a time of creation only if it is one",
            lambda c: (
                c.key == "creation_time"
                and not in_boxes(c.value)
                and (c.new is not None or (c.into == "matroska" and moment(c.value) is None))
            ),
        ),
        Limit(
            "Matroska keeps no time of creation of single streams",
            lambda c: c.new is not None and c.into == "matroska" and c.key == "creation_time",
        ),
    ),
}
