"""How far a source from a stranger is trusted: what it may open besides itself, and how much it may ask for.

A file opens nothing but itself, so playlists and lists of files are refused before they are read.  An
address that somebody typed may lead to others of its own kind (`http` of a stream's parts), never to files.
What is larger than any film is refused before pictures or tables of that size are made.  docs/security.md
says what is left to FFmpeg.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import av
from av.container import InputContainer

from vdeblur.errors import InputError

MOST_PIXELS = 16384 * 8704
"""The largest picture of any level of AV1 (Annex A.3), the codec that goes furthest."""
MOST_STREAMS = 500
MOST_CHAPTERS = 10_000
MOST_TAG_BYTES = 16 << 20
MOST_ATTACHED_BYTES = 512 << 20

# Demuxers that open what their file names.
_LISTS = {"hls", "dash", "concat", "imf", "sdp", "sap", "rtsp", "rtp", "image2", "lavfi", "vobsub"}
# What the parts of a stream may come by: the scheme that was typed, and what it is carried in.
_CARRIERS = {
    "http": "http,https,tls,tcp,crypto",
    "https": "https,tls,tcp,crypto",
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtp,srtp,udp,tls,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "rtp": "rtp,udp",
    "ftp": "ftp,tcp",
    "mmsh": "mmsh,http,tcp",
    "mmst": "mmst,tcp",
}


def options_for_file() -> dict[str, str]:
    """What FFmpeg is told of a file, a pipe or a file object: it is alone."""
    return _sizes() | {"protocol_whitelist": "file", "format_whitelist": _single()}


def options_for_picture() -> dict[str, str]:
    """The same for a picture; FFmpeg opens most of them as a series of one, whose name is no pattern."""
    options = options_for_file()
    return options | {"format_whitelist": options["format_whitelist"] + ",image2", "pattern_type": "none"}


def options_for_url(source: str) -> dict[str, str]:
    """What FFmpeg is told of an address: its parts come the same way or not at all."""
    scheme = source.partition(":")[0].lower()
    return _sizes() | {"protocol_whitelist": _CARRIERS.get(scheme, scheme)}


def refuse_excess(container: InputContainer, name: str) -> None:
    """Raise InputError for an open container that asks for more than any film; decoders learn the limit."""
    if len(container.streams) > MOST_STREAMS:
        raise InputError(f"{name}: has more than {MOST_STREAMS} streams, more than any film; refused")
    for stream in container.streams.video:
        context = stream.codec_context
        if context is None:
            continue
        if context.width * context.height > MOST_PIXELS:
            size = f"{context.width}x{context.height}"
            raise InputError(f"{name}: says its pictures are {size}, larger than any film's; refused")
        context.options = {**context.options, "max_pixels": str(MOST_PIXELS)}
    if (chapters := len(container.chapters())) > MOST_CHAPTERS:
        raise InputError(f"{name}: has {chapters} chapters, more than any film; refused")
    tags: list[dict[str, str]] = [container.metadata, *(s.metadata for s in container.streams)]
    if sum(len(key) + len(value) for held in tags for key, value in held.items()) > MOST_TAG_BYTES:
        raise InputError(f"{name}: its tags are longer than {MOST_TAG_BYTES >> 20} MiB; refused")
    if container.size > MOST_ATTACHED_BYTES:  # a smaller file cannot hold more
        attached: list[Any] = list(container.streams.attachments)
        if sum(len(stream.data) for stream in attached) > MOST_ATTACHED_BYTES:
            raise InputError(
                f"{name}: its attachments are larger than {MOST_ATTACHED_BYTES >> 20} MiB; refused"
            )


def _sizes() -> dict[str, str]:
    # One stream more than is taken, as some demuxers leave out the rest without a word.
    return {"max_pixels": str(MOST_PIXELS), "max_streams": str(MOST_STREAMS + 1)}


@cache
def _single() -> str:
    """All demuxers that read one file only."""
    return ",".join(sorted(name for name in av.formats_available if not _LISTS & set(name.split(","))))
