"""Is the file all there?  Judged by what its own structure points at, never by frame counts or durations.

- MP4/MOV: a sample of the index that lies beyond the end; in fragmented files a fragment beyond the end
- Matroska/WebM: a segment or cluster that reaches beyond the end
- AVI: a RIFF chunk that reaches beyond the end
Other containers have no such promise; the reader judges them by decode errors at their end.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from vdeblur.video.matroska import CLUSTER, SEGMENT, TRACKS, head_of
from vdeblur.video.names import without_scheme

_EBML = bytes.fromhex("1a45dfa3")
# What a segment holds (head, info, cues, attachments, chapters, tags) and a cluster's blocks: only such an
# element that reaches beyond the end is evidence, anything else may be junk behind the file.
_OTHERS = ("114d9b74", "1549a966", "1c53bb6b", "1941a469", "1043a770", "1254c367", "a3", "a0")
_KNOWN = {CLUSTER, TRACKS, *map(bytes.fromhex, _OTHERS)}
_LARGE_INDEX = 256 << 20


def find_break(container: InputContainer, video: VideoStream, source: str) -> tuple[str, float | None] | None:
    """(what is missing, seconds into the file where it breaks) for a file that is cut off, else None."""
    size = container.size
    if size <= 0:  # pipes and live streams
        return None
    if container.format.name.startswith("mov"):
        times = [t for t in (_first_beyond(s, size) for s in (video, *container.streams)) if t is not None]
        if times:
            return "its index points beyond the end of the file", times[0]
    path = Path(without_scheme(source))
    if not path.is_file():
        return None
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] == _EBML:
            cut = _matroska_is_cut(file, size)
        elif magic[:4] == b"RIFF":
            cut = _riff_is_cut(file, size)
        else:
            cut = _boxes_are_cut(file, size)
    return ("it ends in the middle of its data", _last_time_s(container, video)) if cut else None


def promised_size(begin: bytes) -> int | None:
    """How long a Matroska or AVI file is by its own first bytes; None where they do not tell."""
    file = io.BytesIO(begin)
    if begin[:4] == b"RIFF":
        return _riff_end(file, 0)
    segment = _segment(file)
    return None if segment is None else segment[1]


def index_end(video: VideoStream) -> int:
    """The end of the last sample that the index names; 0 where there is none."""
    return max((entry.pos + entry.size for entry in video.index_entries), default=0)


def lacks_index(path: Path) -> bool:
    """Whether it is an MP4/MOV without a moov box, or with one that is cut off."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            boxes = list(_boxes(file, size))
    except OSError:
        return False
    if not boxes or boxes[0][0] not in (b"ftyp", b"mdat", b"wide", b"free", b"skip", b"moov"):
        return False
    return not any(kind == b"moov" and end <= size for kind, _, end in boxes)


def is_spherical(source: str) -> bool:
    """Whether an MP4/MOV says that it shows 360 degrees (Spherical Video V1 or V2, Google)."""
    path = Path(without_scheme(source))
    try:
        with path.open("rb") as file:
            for kind, begin, end in _boxes(file, path.stat().st_size):
                if kind == b"moov" and end - begin < _LARGE_INDEX:
                    file.seek(begin)
                    index = file.read(end - begin)
                    return b"sv3d" in index or b"GSpherical:Spherical" in index
    except OSError:
        pass
    return False


def _first_beyond(stream: Stream, size: int) -> float | None:
    """Time of the first sample that the file no longer holds."""
    scale = float(stream.time_base or 0)
    for entry in stream.index_entries:
        if entry.pos + entry.size > size:
            return entry.timestamp * scale
    return None


def _last_time_s(container: InputContainer, video: VideoStream) -> float | None:
    """Where the last picture that is there ends; reads the file through, without decoding."""
    last: float | None = None
    try:
        for packet in container.demux(video):
            if packet.size and packet.pts is not None and not packet.is_corrupt:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                last = end if last is None else max(last, end)
    except (av.FFmpegError, IndexError):
        pass  # the very break that is being looked for
    return last


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, begin, end) of the top-level boxes of an MP4/MOV; the last end may lie beyond the file."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - at
        if length < 8:
            return
        yield kind, at, at + length
        at += length


def _boxes_are_cut(file: BinaryIO, size: int) -> bool:
    """An index or a fragment that is cut; elsewhere the index is the better witness, and `mdat` sizes lie."""
    fragmented = False
    for kind, _, end in _boxes(file, size):
        fragmented = fragmented or kind == b"moof"
        if end > size and (kind in (b"moov", b"moof") or (fragmented and kind == b"mdat")):
            return True
    return False


def _riff_is_cut(file: BinaryIO, size: int) -> bool:
    """Big AVIs are several RIFF chunks in a row."""
    at = 0
    while at + 8 <= size:
        end = _riff_end(file, at)
        if end is None or end > size:
            return end is not None
        at = end + end % 2
    return False


def _riff_end(file: BinaryIO, at: int) -> int | None:
    """None also for 0 and all ones, which stand for a size that was never filled in."""
    file.seek(at)
    head = file.read(8)
    length = int.from_bytes(head[4:8], "little")
    return None if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF) else at + 8 + length


def _matroska_is_cut(file: BinaryIO, size: int) -> bool:
    """Walks segment and clusters by their sizes; stops without a verdict where the bytes make no sense."""
    segment = _segment(file)
    if segment is None:
        return False
    at, end = segment
    if end is not None:
        return end > size
    # Written to a pipe: the segment's size is unknown, and perhaps that of clusters.
    while at < size:
        found = _element(file, at)
        if found is None:
            return False
        kind, begin, end = found
        if end is None:
            if kind != CLUSTER:
                return False
            at = begin  # go through its children as if they were its siblings
            continue
        if end > size and kind in _KNOWN:
            return True
        at = end
    return False


def _segment(file: BinaryIO) -> tuple[int, int | None] | None:
    """(begin of its content, end or None where unknown)."""
    header = _element(file, 0)
    if header is None or header[0] != _EBML or header[2] is None:
        return None
    found = _element(file, header[2])
    return found[1:] if found is not None and found[0] == SEGMENT else None


def _element(file: BinaryIO, at: int) -> tuple[bytes, int, int | None] | None:
    """(name, begin of the data, end or None where unknown) of the EBML element at a position."""
    file.seek(at)
    found = head_of(file.read(12))
    if found is None:
        return None
    kind, size, length = found
    begin = at + length
    return kind, begin, None if size is None else begin + size
