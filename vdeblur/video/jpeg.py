"""Where a JPEG ends (ITU-T T.81, annex B): decoders fill what is missing with grey and say nothing."""

from __future__ import annotations

import re

_START = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # but restarts and stuffed bytes within a scan
_END, _WITHOUT_LENGTH = 0xD9, {0x01, 0xD8}


def is_cut(data: bytes) -> bool:
    """Whether the picture of a JPEG file breaks off; False for what is no JPEG.

    What phones append to it, often a short video, is not looked at.
    """
    if not data.startswith(_START):
        return False
    at = len(_START)
    while (marker := _MARKER.search(data, at)) is not None:
        if marker[0][1] == _END:
            return False
        at = marker.end()
        if marker[0][1] not in _WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    return True
