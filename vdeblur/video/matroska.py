"""Elements of Matroska, and what FFmpeg's muxer leaves out of it: the shape of pixels that are not square.

It asks a field of the stream for it that PyAV cannot set.  Some players (mpv) look nowhere else, and VP9, AV1
and FFV1 have no word for it themselves.  So the finished file is told, in place: the new words take the room
that the muxer leaves in the track's header.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

# Identifiers of RFC 8794 (EBML) and RFC 9559 (Matroska), with their leading bits.
SEGMENT, TRACKS, CLUSTER = (bytes.fromhex(x) for x in ("18538067", "1654ae6b", "1f43b675"))
_CRC, _VOID, _ENTRY, _NUMBER, _VIDEO = b"\xbf", b"\xec", b"\xae", b"\xd7", b"\xe0"
_WIDTH, _HEIGHT = b"\xb0", b"\xba"
_SHOWN_WIDTH, _SHOWN_HEIGHT, _SHOWN_IN = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"


def write_aspect(path: Path, number: int, aspect: Fraction) -> None:
    """Let track `number` (from 1) of a finished file be shown with pixels of this shape, width by height.

    A file that leaves no room for it stays as it is.
    """
    with path.open("r+b") as file:
        at = 0
        while (found := head_of(file.read(12))) is not None:
            name, size, length = found
            at += length
            file.seek(at)
            if name == TRACKS:
                told = _tracks(file.read(size or 0), number, aspect)
                file.seek(at)
                file.write(told)
            if name in (TRACKS, CLUSTER):
                return
            at += 0 if name == SEGMENT else size or 0
            file.seek(at)


def _tracks(data: bytes, number: int, aspect: Fraction) -> bytes:
    parts = []
    for name, content, whole in _elements(data):
        if name == _ENTRY and (_NUMBER, number) in ((n, int.from_bytes(c)) for n, c, _ in _elements(content)):
            whole = _entry(content, len(whole), aspect) or whole
        if name != _CRC:
            parts.append(whole)
    rest = b"".join(parts)
    return rest if len(rest) == len(data) else _element(_CRC, zlib.crc32(rest).to_bytes(4, "little")) + rest


def _entry(data: bytes, room: int, aspect: Fraction) -> bytes | None:
    """A track's header in so many bytes; the height, which is the picture's own, where it has room too."""
    for words in ((_SHOWN_WIDTH, _SHOWN_HEIGHT), (_SHOWN_WIDTH,)):
        kept = ((n, c, whole) for n, c, whole in _elements(data) if n != _VOID)
        body = b"".join(
            _element(n, _video(c, words, aspect)) if n == _VIDEO else whole for n, c, whole in kept
        )
        left = room - len(_ENTRY) - len(body)
        if left > 8:  # more than a size can take
            body += _element(_VOID, bytes(left - 8))
            left = room - len(_ENTRY) - len(body)
        if 2 <= left <= 8 and len(body) < 1 << 14:
            return _ENTRY + _size(len(body), left) + body
    return None


def _video(data: bytes, words: tuple[bytes, ...], aspect: Fraction) -> bytes:
    found = {name: content for name, content, _ in _elements(data)}
    shown = {
        _SHOWN_WIDTH: max(1, round(int.from_bytes(found[_WIDTH]) * aspect)),
        _SHOWN_HEIGHT: int.from_bytes(found[_HEIGHT]),
    }
    others = (whole for name, _, whole in _elements(data) if name not in (*shown, _SHOWN_IN))
    return b"".join(others) + b"".join(
        _element(word, shown[word].to_bytes(4).lstrip(b"\0")) for word in words
    )


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Name, content, and all bytes of each."""
    while (found := head_of(data)) is not None:
        name, size, length = found
        end = length + (size or 0)
        yield name, data[length:end], data[:end]
        data = data[end:]


def head_of(data: bytes) -> tuple[bytes, int | None, int] | None:
    """Of an element: its name, the size of its content (None: not stated), and how many bytes say so.

    None for what is no element.
    """
    named = 9 - data[0].bit_length() if data else 9
    if named > 4 or len(data) <= named or not data[named]:
        return None
    sized = 9 - data[named].bit_length()
    unknown = (1 << 7 * sized) - 1
    size = int.from_bytes(data[named : named + sized]) & unknown
    return data[:named], None if size == unknown else size, named + sized


def _element(name: bytes, content: bytes) -> bytes:
    return name + _size(len(content), 1 if len(content) < 127 else 2) + content


def _size(value: int, length: int) -> bytes:
    return (value | 1 << 7 * length).to_bytes(length)
