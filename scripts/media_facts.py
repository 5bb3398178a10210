"""What a video file holds, read without vdeblur's own code, and how two such files differ.

The judge of `check_media.py` and of the round-trip tests.  PyAV demuxes and decodes; where ffprobe is
there, it is asked as well.  A difference is OK when it is one of ALLOWED *and* the run said so.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

KEPT = frozenset({0, 1, 2, 4, 8, 16, 32, 64, 128, 256})
COLOUR = ("color_range", "colorspace", "color_primaries", "color_trc")
HDR = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
# Tags that belong to the file or to the encoding, not to the film; every muxer makes them itself.
MADE = re.compile(
    r"major_brand|minor_version|compatible_brands|encoder|duration(-.*)?|vendor_id|_statistics.*|"
    r"bps(-.*)?|number_of_(frames|bytes)(-.*)?|.*-[a-z]{3}",
    re.IGNORECASE,
)


@dataclass
class Track:
    """One stream that is not the deblurred one."""

    index: int
    kind: str
    codec: str
    disposition: int
    tags: dict[str, str]
    hashes: list[str] = field(default_factory=list)
    whole: Any = field(default_factory=hashlib.sha256)  # of all packets, for PCM, which is cut as one likes
    hidden: int = 0  # packets before the start, which an edit list hides
    first_s: Fraction | None = None
    text: list[tuple[float, float, str]] = field(default_factory=list)
    attachment: str | None = None


@dataclass
class Facts:
    """Everything that a round trip must keep, as plain values."""

    path: Path
    container: str
    tags: dict[str, str]
    chapters: list[tuple[Fraction, Fraction, str]]
    tracks: list[Track]
    index: int
    pts: list[Fraction | None]
    last_duration: Fraction
    pix_fmt: str
    bits: int
    subsampling: tuple[int, int]
    alpha: bool
    size: tuple[int, int]
    aspect: Fraction
    rotation: int
    matrix: bytes | None
    interlaced: int
    colour: tuple[int, ...]
    hdr: dict[str, list[float]]
    dynamic: set[str]
    disposition: int
    video_tags: dict[str, str]
    planes: list[list[np.ndarray[Any, Any]]]
    bytes: int
    probed: dict[str, Any]


def facts(path: Path, index: int, *, keep: frozenset[int] = KEPT) -> Facts:
    """Read the whole file; `index` is the deblurred stream; frames of those numbers keep their planes."""
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        video = container.streams[index]
        stated = [int(getattr(video.codec_context, name)) for name in COLOUR]  # decoding overwrites them
        video.thread_type = "NONE"  # pictures of damaged packets depend on the threads
        decoder = _decoder(video)
        tracks = {s.index: _track(s) for s in container.streams if s.index != index}
        frames: list[Any] = []
        seen: dict[str, Any] = {"pts": [], "interlaced": 0, "planes": [], "hdr": {}}

        def take(pictures: list[Any]) -> None:
            for frame in pictures:
                if not frames:
                    seen["first"], seen["side"] = frame, _side(frame)
                frames[:] = [frame]
                tick = frame.time_base or video.time_base
                seen["pts"].append(None if frame.pts is None else frame.pts * tick)
                seen["interlaced"] += bool(frame.interlaced_frame)
                if (len(seen["pts"]) - 1) in keep:
                    seen["planes"].append(_planes(frame))

        for packet in container.demux():
            if packet.stream.index != index:
                if packet.size:
                    _note(tracks[packet.stream.index], packet)
                continue
            try:
                take(decoder.decode(packet if packet.size else None))
            except (av.error.EOFError, av.error.InvalidDataError):
                continue
        first, last = seen["first"], frames[0]
        components = first.format.components
        ratio = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
        return Facts(
            path=path,
            container=container.format.name,
            tags=dict(container.metadata),
            chapters=[
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title", ""))
                for c in container.chapters()
            ],
            tracks=list(tracks.values()),
            index=index,
            pts=seen["pts"],
            last_duration=_lasting(video, last),
            pix_fmt=first.format.name,
            bits=components[0].bits,
            subsampling=(
                64 // (first.format.chroma_width(64) or 64),
                64 // (first.format.chroma_height(64) or 64),
            ),
            alpha=any(c.is_alpha for c in components),
            size=(first.width, first.height),
            aspect=ratio or Fraction(1),
            rotation=first.rotation,
            matrix=seen["side"].get("DISPLAYMATRIX"),
            interlaced=seen["interlaced"],
            colour=_colour(video, first, stated),
            hdr={name: _numbers(name, seen["side"][name]) for name in HDR if name in seen["side"]},
            dynamic={
                name for name in seen["side"] if name.startswith(("DYNAMIC", "DOVI", "AMBIENT", "S12M"))
            },
            disposition=int(video.disposition),
            video_tags=dict(video.metadata),
            planes=seen["planes"],
            bytes=path.stat().st_size,
            probed=ffprobe(path, index),
        )


def ffprobe(path: Path, index: int) -> dict[str, Any]:
    """The same questions to an independent program; empty where it is missing or cannot read the file."""
    if shutil.which("ffprobe") is None:
        return {}
    shown = "stream=field_order,sample_aspect_ratio,color_range,color_space,color_transfer,color_primaries"
    shown += ":frame=best_effort_timestamp,interlaced_frame,top_field_first,side_data_list"
    command = ["ffprobe", "-v", "quiet", "-select_streams", str(index), "-of", "json", "-show_entries", shown]
    done = subprocess.run([*command, "-show_frames", str(path)], capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)
        frames, stream = found["frames"], found["streams"][0]
    except (ValueError, KeyError, IndexError):
        return {}
    if not frames:
        return {}
    sides = {s.get("side_data_type", "?") for s in frames[0].get("side_data_list", [])}
    return {
        "frames": len(frames),
        "interlaced": sum(f.get("interlaced_frame", 0) for f in frames),
        "top first": frames[0].get("top_field_first", 0),
        "aspect": stream.get("sample_aspect_ratio", "1:1").replace("N/A", "1:1").replace("0:1", "1:1"),
        "colour": tuple(
            stream.get(f"color_{word}", "unknown").replace("reserved", "unknown")
            for word in ("range", "space", "transfer", "primaries")
        ),
        "side data": sorted(
            sides & {"3x3 displaymatrix", "Mastering display metadata", "Content light level metadata"}
        ),
    }


def psnr_db(a: Facts, b: Facts) -> float | None:
    """Of the first plane (luma or green), over the frames that were kept; peak: the largest value.

    None where the two do not lay their pictures out alike, so that first planes are not the same thing.
    """
    if a.pix_fmt.replace("yuvj", "yuv") != b.pix_fmt.replace("yuvj", "yuv"):
        return None
    pairs = [
        (x[0].astype(float), y[0].astype(float))
        for x, y in zip(a.planes, b.planes, strict=False)
        if x[0].shape == y[0].shape
    ]
    if a.bits != b.bits or not pairs:
        return None
    error = np.mean([np.mean((x - y) ** 2) for x, y in pairs])
    return float("inf") if error == 0 else float(10 * np.log10((2**a.bits - 1) ** 2 / error))


def _decoder(video: Any) -> Any:
    """The decoder that keeps alpha where there is some (the usual ones for VP8 and VP9 drop it)."""
    alpha = {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(video.codec_context.name)
    if not alpha or "1" not in (video.metadata.get("alpha_mode"), video.metadata.get("ALPHA_MODE")):
        return video.codec_context
    decoder = av.CodecContext.create(alpha, "r")
    decoder.extradata = video.codec_context.extradata
    return decoder


def _track(stream: Any) -> Track:
    codec = stream.codec_context.codec.canonical_name if stream.codec_context is not None else stream.name
    track = Track(stream.index, stream.type, str(codec), int(stream.disposition), dict(stream.metadata))
    if stream.type == "attachment":
        track.attachment = hashlib.sha256(stream.data).hexdigest()
    return track


def _note(track: Track, packet: Any) -> None:
    if packet.is_discard:
        track.hidden += 1
    track.hashes.append(hashlib.sha256(bytes(packet)).hexdigest())
    track.whole.update(bytes(packet))
    if track.first_s is None and packet.pts is not None and not packet.is_discard:
        track.first_s = packet.pts * packet.time_base
    if track.kind == "subtitle" and packet.pts is not None:
        for shown in packet.decode():
            words = re.sub(
                r"<[^>]*>|\{[^}]*\}", "", bytes(getattr(shown, "dialogue", b"")).decode(errors="replace")
            )
            begin = float(packet.pts * packet.time_base)
            track.text.append(
                (begin, begin + float((packet.duration or 0) * packet.time_base), words.strip())
            )


def _side(frame: Any) -> dict[str, bytes]:
    try:
        return {s.type.name: bytes(s) for s in frame.side_data}
    except ValueError:
        return {}


def _lasting(video: Any, last: Any) -> Fraction:
    """The last picture's own duration; FFmpeg shows none for VP9 in MP4, where the stream's end tells it."""
    tick = last.time_base or video.time_base
    if not last.duration and video.codec_context.name == "vp9" and video.duration and last.pts is not None:
        return Fraction((video.start_time or 0) + video.duration - last.pts) * tick
    return Fraction(last.duration or 0) * tick


def _colour(video: Any, frame: Any, stated: list[int]) -> tuple[int, ...]:
    """Range, matrix, primaries, transfer, from the frame, else from the container."""
    found = []
    for name, said in zip(COLOUR, stated, strict=True):
        value = int(getattr(frame, name))
        found.append(said if value == 2 and name != "color_range" else value)
    if (
        video.codec_context.name == "vp8"
    ):  # BT.601, whatever decoder was asked, unless the container says something
        found[1] = 5 if stated[1] == 2 else stated[1]
    return tuple(found)


def _numbers(name: str, data: bytes) -> list[float]:
    """HDR10 data as numbers: AV1 writes the same values as other fractions than HEVC."""
    if name == "CONTENT_LIGHT_LEVEL":
        return [float(v) for v in np.frombuffer(data[:8], "<u4")]
    pairs = np.frombuffer(data[:80], "<i4").reshape(10, 2)
    return [float(a) / float(b or 1) for a, b in pairs]


def _planes(frame: Any) -> list[np.ndarray[Any, Any]]:
    found = []
    for number, plane in enumerate(frame.planes):
        parts = [c for c in frame.format.components if c.plane == number]
        if not parts:
            continue
        wide = np.uint16 if parts[0].bits > 8 else np.uint8
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size)).view(wide)
        found.append(rows[:, : plane.width * len(parts)].copy())
    return found
