"""Names of things: which tags and marks a container keeps, which tags are about the old encoding."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from av.stream import Disposition

# What FFmpeg's muxers write without `use_metadata_tags` (tried, read back with PyAV 18.1).
_MOV_PLAIN = {
    *("title", "artist", "album", "date", "comment", "genre", "copyright", "location"),
    *("creation_time", "encoder", "timecode"),
}
_MP4_PLAIN = _MOV_PLAIN | {
    *("album_artist", "composer", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"),
    *("network", "keywords", "episode_sort", "season_number", "media_type", "hd_video"),
    *("gapless_playback", "compilation", "track", "disc"),
}
_PLAIN = {"mp4": _MP4_PLAIN, "mov": _MOV_PLAIN}
# Boxes that hold a number: what comes back from them as it was.
_COUNT, _BYTE, _NUMBER = r"[1-9]\d{0,3}(/[1-9]\d{0,3})?", r"0|[1-9]\d?", r"0|[1-9]\d{0,8}"
_NUMBERS = {
    **dict.fromkeys(["track", "disc"], _COUNT),
    **dict.fromkeys(["media_type", "hd_video", "gapless_playback", "compilation"], _BYTE),
    **dict.fromkeys(["episode_sort", "season_number"], _NUMBER),
}
# Written by every muxer and encoder for itself, or counted by whoever made the source, about packets that are
# not these any more.  What VP8 and VP9 say of alpha their writer says anew.
_OF_THE_ENCODING = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder(_.*)?|vendor_id|variant_bitrate|_statistics_.*|"
    r"bps|duration|number_of_frames|number_of_bytes|alpha_mode)(-.*)?",  # with a language too
    re.IGNORECASE,
)


def about_the_film(tags: dict[str, str]) -> dict[str, str]:
    """Tags of a file or a stream without those that describe its encoding."""
    return {key: value for key, value in tags.items() if not _OF_THE_ENCODING.fullmatch(key)}


def container_tags(tags: dict[str, str]) -> dict[str, str]:
    """The same as they are written; FFmpeg shows a tag with a language twice ("location", "location-eng")."""
    kept = about_the_film(tags)
    if when := moment(kept.get("creation_time", "")):
        kept["creation_time"] = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {k: v for k, v in kept.items() if not (len(k) > 4 and k[-4] == "-" and k[:-4] in kept)}


def moment(text: str) -> datetime | None:
    """A time of creation, also as cameras write it into AVI ("2005-08-11/ 12:30"); without a zone it is UTC.

    None for what is no such time.
    """
    try:
        when = datetime.fromisoformat(text.strip().replace("/ ", " "))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC) if ":" in text else None


def in_boxes(time: str) -> bool:
    """Whether a time of creation comes back as it was from the boxes of MP4 and MOV as FFmpeg writes them."""
    when = moment(time)
    return when is not None and when.year in range(1970, 2040)


def without_box(muxer: str, tags: dict[str, str]) -> list[str]:
    """Names of the tags for which there is no ordinary MP4/MOV box, of those that every player reads."""
    return [
        key
        for key, value in container_tags(tags).items()
        if key not in _PLAIN[muxer]
        or not re.fullmatch(_NUMBERS.get(key, r"(?s).*"), value)
        or (key == "creation_time" and not in_boxes(value))
    ]


OF_TRACKS = frozenset({"language", "handler_name", "creation_time", "title", "name", "timecode"})
"""Tags of single streams for which MP4 and MOV have a place; Matroska takes any but the time of creation."""


def stream_tags_lost(muxer: str, tags: dict[str, str], container: dict[str, str]) -> list[str]:
    """Names of a stream's tags for which this container has no place and that say something of their own."""
    kept = OF_TRACKS if muxer in ("mp4", "mov") else set(tags) - {"creation_time"}
    return [
        key
        for key, value in container_tags(tags).items()
        if (key not in kept or (key == "creation_time" and not in_boxes(value)))
        and container.get(key) != value
    ]


# What FFmpeg's muxers write of dispositions (tried); a mark that has two names there counts as both.
_D = Disposition
_NAMED_TWICE = (_D.hearing_impaired | _D.captions, _D.visual_impaired | _D.descriptions)
_OF_MP4 = _D.default | _D.forced | _D.dub | _D.comment | _NAMED_TWICE[0] | _NAMED_TWICE[1]
_MARKS = {
    "mp4": _OF_MP4,
    "mov": _D.default,
    "matroska": _OF_MP4 | _D.original,
    "webm": _OF_MP4 | _D.original,
    "mpegts": _D(0),
}


def marks(disposition: int) -> Disposition:
    """A disposition with both names of marks that have two."""
    found = Disposition(disposition)
    for both in _NAMED_TWICE:
        if found & both:
            found |= both
    return found


def marks_kept(muxer: str) -> Disposition:
    """Those for which this container has a place."""
    return _MARKS[muxer]
