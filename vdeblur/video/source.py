"""Opening a source for reading: the one place that does it, and what FFmpeg says turned into a sentence.

`opened` gives a container or raises InputError; `choose_video` picks the stream to deblur; `alpha_decoder`
is the decoder for the formats whose usual one drops the alpha.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.errors import InputError, presentable
from vdeblur.video import pipe, soundness, trust
from vdeblur.video.names import PICTURES, is_picture, without_scheme

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://|(rtp|udp|rtsp|rtmp|tcp|mmsh?):")
TIMEOUT_S = 10.0
"""After so long without a word an address counts as silent."""
NOT_BY_PIPE = "stdin: no video that a pipe can carry (save an MP4 with its index at the end first)"
_BROADCAST = {"mpegts", "mpeg"}  # containers that do not say at their start what their streams are
_ONE_PROGRAMME = {"merge_pmt_versions": "1"}
_RAW_JPEGS = (".mjpeg", ".mjpg")  # begin like a picture, for which FFmpeg would take them
_TILE = 1 << 19  # the mark "dependent", for which PyAV has no name
_FAR = {"probesize": str(256 << 20), "analyzeduration": str(120_000_000)}  # bytes, microseconds
_TEXT = {
    *("tty", "ass", "srt", "webvtt", "lrc", "microdvd"),
    *("subviewer", "aqtitle", "sami", "scc", "stl", "vobsub"),
}


def is_url(source: str) -> bool:
    """Whether the source is fetched over a network or another FFmpeg protocol (a file: URL is not)."""
    return bool(_URL.match(source)) and not source.lower().startswith("file:")


@contextmanager
def opened(source: str, *, last: bool = False) -> Iterator[InputContainer]:
    """The open container, closed at the end; raises InputError with what is wrong and what to do.

    `last` says that the source is not opened again, so that a pipe need not be remembered any more.
    """
    container = open_source(source, last=last)
    try:
        yield container
    finally:
        close(container)


def open_source(
    source: str, *, last: bool = False, by_gpu: bool = False, patient: bool = False
) -> InputContainer:
    """Like `opened`, for those who close it themselves (with `close`); `by_gpu` or not at all.

    `patient`: look far into the file for what its streams are; done by itself where a sound shows no sign.
    """
    if source == "-":
        file: Any = pipe.STDIN.open(last)
    elif is_url(source):
        file = source
    else:
        _refuse_file(source)
        is_named = source.lower().startswith("file:")
        file = f"file:{source}" if ":" in source and not is_named else source  # else a protocol's name
    name = shown_name(source)
    # In PyAV a timeout interrupts any read, also of a slow disk, so files get none.
    timeout = (TIMEOUT_S, TIMEOUT_S) if is_url(source) else None
    # One programme whose parts move to other numbers stays one (MPEG-TS).
    options = trust.options_for_url(source) if is_url(source) else trust.options_for_file() | _ONE_PROGRAMME
    if patient:
        options |= _FAR
    try:
        # Tags need not be UTF-8; surrogateescape keeps their bytes.
        container: InputContainer = av.open(
            file,
            "r",
            format="mjpeg" if source.lower().endswith(_RAW_JPEGS) and not is_url(source) else None,
            metadata_errors="surrogateescape",
            timeout=timeout,
            options=options,
            hwaccel=HWAccel("cuda", allow_software_fallback=False) if by_gpu else None,
        )
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise InputError(_why(error, name, source)) from error
    try:
        trust.refuse_excess(container, name)
    except BaseException:
        close(container)
        raise
    kind = container.format.name
    if kind in _BROADCAST and not patient and isinstance(file, str) and not is_url(source):
        contexts = [stream.codec_context for stream in container.streams.audio]
        if any(context is not None and not context.sample_rate for context in contexts):
            close(container)  # it begins beyond where FFmpeg looks, and without its rate it cannot be written
            return open_source(source, last=last, by_gpu=by_gpu, patient=True)
    if kind in _TEXT or kind.endswith("_pipe") or kind.startswith("image2"):
        close(container)
        raise InputError(f"{name}: {_no_video(kind, source)}")
    return container


def _no_video(kind: str, source: str) -> str:
    """What FFmpeg opens all the same."""
    if kind in _TEXT:
        return "a text or subtitle file, not a video"
    if is_picture(Path(source)):
        return "a picture; a video is wanted here"
    return (
        f"a single picture ({kind.removesuffix('_pipe')}), not a video; pictures are known by their names "
        f"({', '.join(sorted(PICTURES))}): rename it, or convert it first"
    )


def demux(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all; each stream ends with one that is empty.

    PyAV knows no streams that come up on the way, in the middle of a broadcast: it leaves their packets out,
    and may stumble over them at the very end.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def has_late_streams(container: InputContainer) -> bool:
    """Whether streams came up since it was opened; to be asked when it has been read to its end.

    PyAV has no word for it.  But asked for a stream by a number that FFmpeg does not know it says so, before
    it reads, and one that only PyAV does not know it looks for in vain; the stranger with that number comes
    from a file that is never written.
    """
    with av.open(io.BytesIO(), "w", format="matroska") as numbers:
        for _ in range(len(container.streams) + 1):
            stranger = numbers.add_stream("pcm_s16le", rate=8000)
        try:
            next(container.demux(stranger), None)
        except ValueError:
            return False
        except (av.FFmpegError, IndexError):
            pass
    return True


def close(container: InputContainer) -> None:
    """Close without the deadlock of frame-threaded decoders that were not drained."""
    for stream in container.streams:
        context = getattr(stream, "codec_context", None)
        if context is not None and context.is_open:
            context.flush_buffers()
    container.close()


def choose_video(container: InputContainer, source: str, wanted: int | None) -> VideoStream:
    """The stream to deblur: the first video stream that is no cover picture, or the one marked default.

    Among default ones a moving picture goes before a still one (AVIF holds both), and of the variants of one
    film (HLS) that with the highest bit rate before all others.
    """
    name = shown_name(source)
    videos = [s for s in container.streams.video if not is_cover(s)]
    if not videos:
        what = "holds no video, only a cover picture" if container.streams.video else "holds no video"
        kinds = sorted({s.type for s in container.streams})
        raise InputError(f"{name}: {what} (its streams: {', '.join(kinds) or 'none'})")
    if any(stream.disposition & _TILE for stream in videos):
        raise InputError(f"{name}: a photo in tiles (HEIC); convert it to PNG, TIFF or JPEG first")
    if wanted is not None:
        for stream in videos:
            if stream.index == wanted:
                return stream
        there = ", ".join(str(s.index) for s in videos)
        found = [s.type for s in container.streams if s.index == wanted]
        what = "does not exist"
        if found:
            what = "is a cover picture" if found == ["video"] else f"is {found[0]}"
        raise InputError(f"{name}: stream {wanted} {what}; --video-stream can be {there}")
    return min(
        videos,
        key=lambda s: (not s.disposition & Disposition.default, s.frames == 1, -(_variant(s) or 0), s.index),
    )


def is_cover(stream: Any) -> bool:
    """Whether it is one picture that stands outside time."""
    return bool(stream.disposition & Disposition.attached_pic)


def is_of_another_variant(stream: Any, video: VideoStream) -> bool:
    """Whether it belongs to the same film in another quality, as an HLS address may offer it."""
    return _variant(stream) not in (None, _variant(video))


def _variant(stream: Any) -> int | None:
    """The bit rate by which variants are told apart; None for what all share, and where there are none."""
    stated = stream.metadata.get("variant_bitrate", "")
    return int(stated) if stated.isdecimal() else None


def shown_name(source: str) -> str:
    """How messages call the source: without the login that an address may hold."""
    return "stdin" if source == "-" else presentable(source)


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """A decoder of its own for VP8/VP9 with alpha (FFmpeg's usual ones drop it), else None."""
    name = stream.codec_context.codec.name
    stated = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE"))
    if stated != "1" or name not in ("vp8", "vp9"):
        return None
    try:
        decoder = av.CodecContext.create("libvpx-vp9" if name == "vp9" else "libvpx", "r")
    except (av.FFmpegError, ValueError):
        return None
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _refuse_file(source: str) -> None:
    path = Path(without_scheme(source))
    try:
        if path.is_dir():
            raise InputError(f"{source}: a folder; name one of its videos")
        if not path.exists():
            raise InputError(f"{source}: no such file")
        if not path.is_file():
            raise InputError(f"{source}: a pipe or a device, not a file; a pipe is read as - (stdin)")
        if path.stat().st_size == 0:
            raise InputError(f"{source}: the file is empty")
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror})") from error


def _why(error: Exception, name: str, source: str) -> str:
    """FFmpeg's exception as a sentence."""
    if isinstance(error, av.error.ProtocolNotFoundError):
        protocol = source.split(":", 1)[0]
        return f"{name}: FFmpeg knows no protocol {protocol}: here (try http, rtsp, udp or a file)"
    if isinstance(error, MemoryError):
        return (
            f"{name}: asks for more than {trust.MOST_STREAMS} streams or more memory than there is; refused"
        )
    if isinstance(error, av.error.ArgumentError) and not is_url(source):
        return f"{name}: a list of other files or a damaged video; name the video itself"
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return f"{name}: no answer within the time limit; is the sender running?"
    if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
        if source == "-":
            nothing = "stdin: nothing came through the pipe; look at the command before it"
            return nothing if pipe.STDIN.is_empty() else NOT_BY_PIPE
        if not is_url(source) and soundness.lacks_index(Path(without_scheme(source))):
            return (
                f"{name}: an MP4/MOV without its index (moov): cut off, or the recording was never finished"
            )
        return f"{name}: not a video, or damaged beyond reading"
    if isinstance(error, PermissionError):
        return f"{name}: no permission to read it"
    text = getattr(error, "strerror", None) or presentable(str(error)) or type(error).__name__
    return f"{name}: cannot be opened ({text})"
