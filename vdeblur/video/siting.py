"""Where the chroma samples of a 4:2:0 stream lie between those of luma, for which PyAV has no word.

FFmpeg knows it, and its Matroska muxer writes it into its header: so one is written into memory and read.
"""

from __future__ import annotations

import io
import re

import av
from av.video.stream import VideoStream

# ChromaSitingHorz, ChromaSitingVert (RFC 9559, 5.1.4.1.28): 1 beside the first of its samples, 2 halfway.
_ELEMENTS = re.compile(rb"\x55\xb7\x81([\1\2])\x55\xb8\x81([\1\2])")
_WORDS = {b"\1\2": "left", b"\2\2": "center", b"\1\1": "topleft", b"\2\1": "top"}


def siting_of(video: VideoStream) -> str | None:
    """FFmpeg's word for it; None where the stream states nothing, or where Matroska knows no such codec."""
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as output:
            output.add_stream_from_template(video, opaque=True)
            output.start_encoding()
    except (av.FFmpegError, ValueError):
        return None
    found = _ELEMENTS.search(header.getvalue())
    return None if found is None else _WORDS[found[1] + found[2]]
