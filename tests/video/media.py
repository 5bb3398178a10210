"""Small synthetic clips for everybody's tests: made by a function with a seed, never stored.

`write_clip` is the one maker; every promise of the video rooms is a keyword of it.  `KINDS` names the
clips that whole-file tests go through; `make(kind, folder)` writes one.  Expected times come from the
arguments (`Made.pts`), not from reading the file back.  Other folders: `from video import media`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np

# The 88 bytes of AVMasteringDisplayMetadata: R, G, B, white as x/50000, luminances as x/10000, two flags.
_PRIMARIES = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)
MASTERING = (
    b"".join(
        np.array([value, scale], "<i4").tobytes()
        for value, scale in [*((v, 50000) for v in _PRIMARIES), (50, 10000), (10000000, 10000)]
    )
    + np.array([1, 1], "<i4").tobytes()
)
LIGHT = np.array([1000, 400], "<u4").tobytes()
X265_HDR10 = (
    "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ":max-cll=1000,400"
)
# (range, matrix, primaries, transfer) in H.273 numbers.
BT709, BT601 = (1, 1, 1, 1), (1, 6, 6, 6)
FULL709, PQ, HLG = (2, 1, 1, 1), (1, 9, 9, 16), (1, 9, 9, 18)


@dataclass(frozen=True)
class Made:
    """What was asked for: the path, and the times every frame must be read back with."""

    path: Path
    pts: tuple[int, ...]
    time_base: Fraction
    size: tuple[int, int]  # width, height
    pix_fmt: str
    frames: int
    extra: dict[str, Any] = field(default_factory=dict)


def vfr_pts(frames: int, seed: int = 0, step: int = 3003, start: int = 0) -> list[int]:
    """Strictly increasing, uneven times: steps between half and twice `step`."""
    steps = np.random.default_rng(seed).integers(step // 2, step * 2, frames)
    return [start, *(start + int(t) for t in np.cumsum(steps)[: frames - 1])]


def paint(frame: av.VideoFrame, number: int, seed: int = 0) -> av.VideoFrame:
    """Fill a new frame's planes: a drifting gradient, a moving square and a little noise, at full depth."""
    frame.make_writable()
    noise = np.random.default_rng([seed, number])
    for k, plane in enumerate(frame.planes):
        parts = [c for c in frame.format.components if c.plane == k]
        bits, count = parts[0].bits, len(parts)
        dtype = np.uint16 if bits > 8 else np.uint8
        if frame.format.is_rgb and not frame.format.is_planar:  # bgr0: four values, three names
            count = frame.format.padded_bits_per_pixel // (8 * dtype().itemsize)
        flat = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size)).view(dtype)
        rows, columns = plane.height, plane.width
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        top = (1 << bits) - 1
        picture = np.empty((rows, columns, count), np.float32)
        for c in range(count):
            phase = 0.15 * number + 0.9 * (k + c + seed)
            wave = np.sin(2.5 * x / max(columns, 1) + phase) * np.cos(2.0 * y / max(rows, 1) - phase)
            picture[:, :, c] = 0.5 + 0.3 * wave
        side, left = max(rows // 4, 1), (number * max(columns // 16, 1)) % max(columns - rows // 4, 1)
        picture[rows // 3 : rows // 3 + side, left : left + side] += 0.15
        picture += noise.normal(0, 0.004, picture.shape)
        values = np.clip(picture, 0.07, 0.9) * top
        shift = 16 - bits if frame.format.name.startswith(("p010", "p210", "p012", "p212")) else 0
        flat[:, : columns * count] = (values.round().astype(np.uint32) << shift).reshape(rows, -1)
    return frame


def new_frame(pix_fmt: str, width: int, height: int, number: int = 0, seed: int = 0) -> av.VideoFrame:
    """One painted frame without a file."""
    return paint(av.VideoFrame(width, height, pix_fmt), number, seed)


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (96, 64),
    frames: int = 12,
    rate: Fraction | int = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    b_frames: bool = False,
    colour: tuple[int, int, int, int] | None = BT709,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    hdr10: bool = False,
    rotation: int = 0,
    sar: Fraction | None = None,
    interlaced: bool = False,
    lower_first: bool = False,
    audio: Sequence[dict[str, Any]] = (),
    subtitles: Sequence[dict[str, Any]] = (),
    second_video: bool = False,
    cover: bool = False,
    chapters: Sequence[tuple[float, float, str]] = (),
    attachments: Sequence[tuple[str, str, bytes]] = (),
    tags: dict[str, str] | None = None,
    video_tags: dict[str, str] | None = None,
    format: str | None = None,
    seed: int = 0,
) -> Made:
    """Write one clip; the container follows from the suffix (or `format`).

    pts          times in `time_base` (default 1/90000 with pts, 1/rate without): VFR, late starts
    audio        one dict per track: codec ("aac"), rate (48000), language, title, start (s), seconds
    subtitles    one dict per track: codec ("srt", "mov_text", "ass", "webvtt"), language, title, cues
    interlaced   top field first, or `lower_first` (x264 only); rotation in degrees counter-clockwise
    """
    rate = Fraction(rate)
    if time_base is None:
        time_base = Fraction(1, 90000) if pts is not None else 1 / rate
    times = list(pts) if pts is not None else [round(n / rate / time_base) for n in range(frames)]
    width, height = size
    boxes = dict(container_options or {})
    if path.suffix in (".mp4", ".mov") and "movflags" not in boxes:
        # Both scales, so that a late first frame is stored exactly.
        boxes.setdefault("movie_timescale", str(time_base.denominator))
        boxes.setdefault("video_track_timescale", str(time_base.denominator))
        if not cover:  # with that flag the muxer writes no cover picture at all
            boxes["movflags"] = "use_metadata_tags"
    with av.open(str(path), "w", format=format, container_options=boxes) as out:
        out.metadata.update(tags or {})
        video = _video_stream(out, codec, pix_fmt, size, rate, time_base, colour, options, b_frames, hdr10)
        video.metadata.update(video_tags or {})
        if sar is not None:
            video.codec_context.sample_aspect_ratio = sar
        if rotation:
            video.set_display_rotation(rotation)
        if interlaced:
            flags = av.codec.context.Flags
            video.codec_context.flags |= flags.interlaced_dct | flags.interlaced_me
            video.codec_context.field_order = 3 if lower_first else 2
        second = None
        if second_video:
            second = _video_stream(
                out, codec, pix_fmt, (48, 32), rate, time_base, colour, options, False, False
            )
            second.disposition = av.stream.Disposition(0)
        sounds = [_audio_stream(out, track) for track in audio]
        texts = [_subtitle_stream(out, track) for track in subtitles]
        picture = None
        if cover:
            picture = out.add_stream("png")
            picture.width, picture.height, picture.pix_fmt = 32, 32, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        for name, mimetype, data in attachments:
            out.add_attachment(name, mimetype, data)
        if chapters:
            out.set_chapters(
                [
                    {
                        "id": number + 1,
                        "start": round(begin * 1000),
                        "end": round(end * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for number, (begin, end, title) in enumerate(chapters)
                ]
            )
        out.start_encoding()
        if picture is not None:
            for packet in picture.codec_context.encode(new_frame("rgb24", 32, 32, 0, seed)):
                packet.stream = picture
                packet.pts = packet.dts = 0
                out.mux(packet)
        mode = "bff" if lower_first else "tff"
        field_tagger = _field_tagger(width, height, pix_fmt, time_base, mode) if interlaced else None
        lasts = [*(b - a for a, b in itertools.pairwise(times)), 0]
        lasts[-1] = round(1 / rate / time_base)
        durations = dict(zip(times, lasts, strict=True))
        for number, when in enumerate(times):
            frame = new_frame(pix_fmt, width, height, number, seed)
            frame.pts, frame.time_base, frame.duration = when, time_base, durations[when]
            if colour is not None:
                frame.color_range, frame.colorspace = colour[0], colour[1]
            if field_tagger is not None:
                frame = field_tagger(frame)
            _mux(out, video, frame, durations)
            if second is not None:
                small = new_frame(pix_fmt, 48, 32, number, seed + 1)
                small.pts, small.time_base = when, time_base
                out.mux(second.encode(small))
        _mux(out, video, None, durations)
        if second is not None:
            out.mux(second.encode(None))
        seconds = float((times[-1] - times[0] + durations[times[-1]]) * time_base)
        for stream, track in zip(sounds, audio, strict=True):
            _write_audio(out, stream, track, seconds)
        for stream, track in zip(texts, subtitles, strict=True):
            _write_cues(out, stream, track)
    return Made(path, tuple(times), time_base, size, pix_fmt, len(times))


def badly_woven(whole: Path, target: Path, *, pictures_first: bool = False) -> Path:
    """The same packets, those of the first video behind all others, or before them."""
    now = {"max_interleave_delta": "1"}  # microseconds for which the muxer would put packets in order
    with av.open(str(whole)) as source, av.open(str(target), "w", container_options=now) as out:
        into = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        video = source.streams.video[0].index
        packets = sorted(
            (p for p in source.demux() if p.size), key=lambda p: (p.stream.index == video) != pictures_first
        )
        for packet in packets:
            packet.stream = into[packet.stream.index]
            out.mux(packet)
    return target


def cut_off(whole: Path, target: Path, keep: float = 0.6) -> Path:
    """The first part of a file's bytes: what an interrupted download leaves."""
    data = whole.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def flip_bits(whole: Path, target: Path, seed: int = 0, count: int = 20) -> Path:
    """Bit errors in the middle half of a file."""
    data = bytearray(whole.read_bytes())
    for at in np.random.default_rng(seed).integers(len(data) // 4, len(data) * 3 // 4, count):
        data[int(at)] ^= 0x55
    target.write_bytes(bytes(data))
    return target


def _video_stream(
    out: Any,
    codec: str,
    pix_fmt: str,
    size: tuple[int, int],
    rate: Fraction,
    time_base: Fraction,
    colour: tuple[int, int, int, int] | None,
    options: dict[str, str] | None,
    b_frames: bool,
    hdr10: bool,
) -> Any:
    stream = out.add_stream(codec, rate=rate)
    stream.width, stream.height, stream.pix_fmt = size[0], size[1], pix_fmt
    context = stream.codec_context
    context.time_base = stream.time_base = time_base
    context.flags |= av.codec.context.Flags.frame_duration
    if colour is not None:
        context.color_range, context.colorspace = colour[0], colour[1]
        context.color_primaries, context.color_trc = colour[2], colour[3]
    chosen: dict[str, str] = {}
    if codec == "libx264":
        chosen = {"preset": "ultrafast", "crf": "20", "bf": "3" if b_frames else "0"}
        if b_frames:
            chosen |= {"x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"}
    elif codec == "libx265":
        quiet = "log-level=none" + (":" + X265_HDR10 if hdr10 else "")
        chosen = {"preset": "ultrafast", "x265-params": quiet + ("" if b_frames else ":bframes=0")}
    elif codec in ("libvpx-vp9", "libvpx"):
        chosen = {"deadline": "realtime", "cpu-used": "8"}
    context.options = chosen | (options or {})
    return stream


def _mux(out: Any, stream: Any, frame: av.VideoFrame | None, durations: dict[int, int]) -> None:
    for packet in stream.encode(frame):
        if packet.pts in durations and packet.time_base == stream.codec_context.time_base:
            packet.duration = durations[packet.pts]
        out.mux(packet)


def _field_tagger(
    width: int, height: int, pix_fmt: str, time_base: Fraction, mode: str
) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """A graph that marks new frames as interlaced (they are bottom first without a word)."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=pix_fmt, time_base=time_base)
    fields, sink = graph.add("setparams", f"field_mode={mode}"), graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()

    def tag(frame: av.VideoFrame) -> av.VideoFrame:
        graph.push(frame)
        return graph.pull()  # type: ignore[return-value]

    return tag


def _audio_stream(out: Any, track: dict[str, Any]) -> Any:
    stream = out.add_stream(track.get("codec", "aac"), rate=track.get("rate", 48000))
    stream.codec_context.layout = track.get("layout", "stereo")
    return _dressed(stream, track)


def _write_audio(out: Any, stream: Any, track: dict[str, Any], seconds: float) -> None:
    rate, hz = track.get("rate", 48000), track.get("hz", 440)
    start = round(track.get("start", 0.0) * rate)
    total = round(track.get("seconds", seconds) * rate)
    channels = 1 if track.get("layout") == "mono" else 2
    for begin in range(0, total, 1024):
        t = np.arange(begin, min(begin + 1024, total)) / rate
        wave = (0.3 * np.sin(2 * math.pi * hz * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(
            np.repeat(wave[None], channels, 0), format="fltp", layout=track.get("layout", "stereo")
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start + begin, Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _subtitle_stream(out: Any, track: dict[str, Any]) -> Any:
    stream = out.add_stream(track.get("codec", "srt"))
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.time_base = Fraction(1, 1000)
    return _dressed(stream, track)


def _dressed(stream: Any, track: dict[str, Any]) -> Any:
    for key in ("language", "title"):
        if key in track:
            stream.metadata[key] = track[key]
    if "disposition" in track:
        stream.disposition = track["disposition"]
    return stream


def _write_cues(out: Any, stream: Any, track: dict[str, Any]) -> None:
    for begin, end, text in track.get("cues", ((0.05, 0.2, "one"), (0.25, 0.4, "two – <i>žluť</i>"))):
        line = text if track.get("codec") != "ass" else f"0,0,Default,,0,0,0,,{text}"
        body = line.encode()
        if track.get("codec") == "mov_text":
            body = len(body).to_bytes(2, "big") + body
        packet = av.Packet(body)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(begin * 1000)
        packet.duration = round((end - begin) * 1000)
        packet.is_keyframe = True
        out.mux(packet)


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

_TWO_SOUNDS = (
    {"codec": "aac", "language": "eng", "title": "English", "hz": 440},
    {
        "codec": "aac",
        "rate": 44100,
        "language": "ger",
        "title": "Kommentar – Müller",
        "hz": 660,
        "start": 0.1,
    },
)
_CHAPTERS = ((0.0, 0.2, "Anfang – Übung"), (0.2, 0.48, "two"))

# Everything that a whole-file test should go through: name -> (file name, arguments of write_clip).
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain.mp4", {}),
    "b_frames_audio": (
        "b.mp4",
        {"b_frames": True, "frames": 20, "audio": _TWO_SOUNDS[:1], "tags": {"title": "Ťip"}},
    ),
    "b_frames_mkv": ("b.mkv", {"b_frames": True, "frames": 20, "audio": _TWO_SOUNDS[:1]}),
    "vfr": ("vfr.mp4", {"pts": vfr_pts(15, 1), "b_frames": True}),
    "vfr_mkv": ("vfr.mkv", {"pts": [40, 73, 107, 200, 233, 401], "time_base": Fraction(1, 1000)}),
    "late_start": ("late.mp4", {"pts": vfr_pts(8, 2, start=135135), "audio": _TWO_SOUNDS[:1]}),
    "tracks_chapters_mkv": (
        "tracks.mkv",
        {
            "audio": _TWO_SOUNDS,
            "second_video": True,
            "subtitles": (
                {"codec": "srt", "language": "eng", "title": "all"},
                {"codec": "ass", "language": "ger", "title": "nur das Nötigste"},
            ),
            "chapters": _CHAPTERS,
            "attachments": (("font.ttf", "application/x-truetype-font", bytes(range(256)) * 4),),
            "tags": {"title": "a clip – Übung", "COMMENT": "kept"},
        },
    ),
    "tracks_chapters_mp4": (
        "tracks.mp4",
        {
            "audio": _TWO_SOUNDS,
            "subtitles": ({"codec": "mov_text", "language": "eng"}, {"codec": "mov_text", "language": "ger"}),
            "chapters": _CHAPTERS,
            "tags": {"title": "a clip", "artist": "somebody", "my.own.key": "kept"},
        },
    ),
    "cover_mp4": ("cover.mp4", {"cover": True, "audio": _TWO_SOUNDS[:1]}),
    "rotated": ("rotated.mov", {"rotation": -90, "sar": Fraction(4, 3)}),
    "sar_mkv": ("sar.mkv", {"sar": Fraction(16, 11)}),
    "interlaced": ("tff.mp4", {"interlaced": True}),
    "full_range": ("full.mp4", {"pix_fmt": "yuvj420p", "colour": FULL709}),
    "bt601": ("bt601.mp4", {"colour": BT601}),
    "untagged": ("untagged.mp4", {"colour": None}),
    "444": ("444.mp4", {"pix_fmt": "yuv444p"}),
    "422_10": ("42210.mp4", {"pix_fmt": "yuv422p10le"}),
    "420_10_hlg": ("hlg.mov", {"pix_fmt": "yuv420p10le", "colour": HLG}),
    "hdr10": ("hdr10.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "colour": PQ, "hdr10": True}),
    "hdr10_mp4": ("hdr10.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "colour": PQ, "hdr10": True}),
    "hevc_12": ("12.mkv", {"codec": "libx265", "pix_fmt": "yuv420p12le"}),
    "444_12": ("44412.mkv", {"codec": "libx265", "pix_fmt": "yuv444p12le"}),
    "gray": ("gray.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
    "gray_10": ("gray10.mkv", {"codec": "ffv1", "pix_fmt": "gray10le"}),
    "gbrp": ("gbrp.mov", {"codec": "libx265", "pix_fmt": "gbrp", "colour": None}),
    "gbrp_10": ("gbrp10.mkv", {"codec": "ffv1", "pix_fmt": "gbrp10le", "colour": None}),
    "alpha": ("alpha.mkv", {"codec": "ffv1", "pix_fmt": "yuva420p"}),
    "prores": ("prores.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    "odd_size": ("odd.webm", {"codec": "libvpx-vp9", "size": (97, 65)}),
    "odd_444": ("odd444.mp4", {"pix_fmt": "yuv444p", "size": (97, 65)}),
    "webm_vp8": ("vp8.webm", {"codec": "libvpx"}),
    "mpegts": (
        "ts.ts",
        {"b_frames": True, "audio": _TWO_SOUNDS[:1], "pts": [9000 + 3600 * n for n in range(12)]},
    ),
    "raw_h264": ("raw.h264", {"format": "h264"}),
    "fragmented": ("frag.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "mjpeg_avi": ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj422p", "colour": FULL709}),
}


def make(kind: str, folder: Path, **changes: Any) -> Made:
    """Write the clip of that name of `KINDS` into the folder."""
    name, arguments = KINDS[kind]
    return write_clip(folder / name, **(arguments | changes))
