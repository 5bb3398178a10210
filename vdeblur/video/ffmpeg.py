"""A user's own ffmpeg as encoder (`--encoder ffmpeg`), for builds with encoders that PyAV's lacks.

Frames go to the program as raw video in NUT, which keeps every time; it gives packets back in NUT, and the
rest is as ever: our muxer, `Carry`, the hidden name.  Same verbs as `Encoding`.

    encode -> NUT -> stdin | ffmpeg | stdout -> NUT -> reading thread -> queue -> muxer

The reading thread only demuxes and fills the queue; all else is done by the writing thread.
"""

from __future__ import annotations

import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError
from vdeblur.frame import Frame
from vdeblur.video import hdr
from vdeblur.video.clip import Clip
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.encoding import colour_of, rate_of, written_picture

_PATIENCE_S = 60.0


def find_binary() -> str:
    """The path of the ffmpeg program; MissingRuntimeError where there is none."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise MissingRuntimeError(
            "--encoder ffmpeg: there is no ffmpeg program in PATH; install FFmpeg, or leave the option out"
        )
    return found


@cache
def encoders_of(binary: str) -> frozenset[str]:
    """Names of the video encoders that this program was built with."""
    listed = subprocess.run(
        [binary, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    )
    lines = (line.split() for line in listed.stdout.splitlines())
    return frozenset(words[1] for words in lines if len(words) > 1 and words[0].startswith("V"))


def version_of(binary: str) -> str:
    """The first line of what it says of itself."""
    said = subprocess.run([binary, "-version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0]


def check_binary_has(encoder: str) -> None:
    """Refuse an encoder that the user's ffmpeg does not have."""
    binary = find_binary()
    if encoder not in encoders_of(binary):
        raise InputError(
            f"--encoder ffmpeg: {binary} has no encoder {encoder}; `ffmpeg -encoders` lists what it has"
        )


class Program:
    """The running ffmpeg, its two pipes, and the thread that reads what comes back.

    Frames in, packets out: each with its frame's own time, in ticks of the program's, and duration.
    """

    def __init__(self, clip: Clip, choice: OutputChoice, first: Frame) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe that nobody reads would block)
        self._process = subprocess.Popen(
            _command(find_binary(), clip, choice),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            start_new_session=True,  # Ctrl-C is for us: we end it, when it has written what it has
        )
        self._clip, self._choice = clip, choice
        self._reformatter = VideoReformatter()
        self._first = first.pts * first.time_base  # seconds
        self._moved: int | None = None  # what the program adds to all times, in the packets' time base
        self._durations: dict[Fraction, Fraction] = {}
        self._back: queue.SimpleQueue[Any] = queue.SimpleQueue()  # packets; None at the end
        self._encoded: Any = None  # the container that comes back; opened by the reading thread
        self._reader = threading.Thread(target=self._read, name="ffmpeg output", daemon=True)
        self._reader.start()
        try:
            self._nut: Any = av.open(self._process.stdin, "w", format="nut")
            self._raw = self._nut.add_stream("rawvideo", rate=rate_of(clip))
            context = self._raw.codec_context
            context.width, context.height = first.layout.width, first.layout.height
            context.pix_fmt = choice.pix_fmt
            context.time_base = self._raw.time_base = first.time_base
        except BaseException:
            self.kill()
            raise

    def encode(self, frame: Frame) -> Iterator[Any]:
        """One frame into the program; what has come back so far."""
        self._durations[frame.pts * frame.time_base] = frame.duration * frame.time_base
        picture = written_picture(frame, self._clip, self._choice, self._reformatter)
        try:
            self._nut.mux(self._raw.encode(picture))
        except (OSError, av.FFmpegError) as error:
            raise VdeblurError(self._why()) from error
        with suppress(queue.Empty):
            while (packet := self._back.get_nowait()) is not None:
                yield self._timed(packet)

    def flush(self) -> Iterator[Any]:
        """Close the input and wait for everything that is still to come."""
        try:
            self._nut.mux(self._raw.encode(None))
            self._nut.close()
            stdin = self._process.stdin
            assert stdin is not None
            stdin.close()
        except (OSError, av.FFmpegError) as error:
            raise VdeblurError(self._why()) from error
        while (packet := self._back.get()) is not None:
            yield self._timed(packet)
        self._reader.join()
        if self._process.wait(_PATIENCE_S) != 0 or self._moved is None:
            raise VdeblurError(self._why())

    def kill(self) -> None:
        """End it at once; never raises."""
        with suppress(Exception):
            self._process.kill()
            self._process.wait(_PATIENCE_S)
        self._reader.join(_PATIENCE_S)
        with suppress(Exception):
            self._nut.close()

    def _timed(self, packet: Any) -> Any:
        if self._moved is None:
            # NUT holds no negative times: the program moves everything so that decoding starts at zero.
            self._moved = packet.pts - round(self._first / packet.time_base)
        packet.pts -= self._moved
        if packet.dts is not None:
            packet.dts -= self._moved
        duration = self._durations.pop(packet.pts * packet.time_base, None)
        if duration is not None:
            packet.duration = round(duration / packet.time_base)
        return packet

    def _read(self) -> None:
        try:
            # Stays open: its stream is the template for ours, which may be made after the last packet.
            self._encoded = av.open(self._process.stdout, "r", format="nut")
            for packet in self._encoded.demux(video=0):
                if packet.size:
                    self._back.put(packet)
        except (OSError, av.FFmpegError):
            pass  # the exit code and the complaints say more
        finally:
            self._back.put(None)

    def _why(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"exit code {self._process.returncode}"
        return f"--encoder ffmpeg: {self._choice.encoder} failed ({last})"


def _command(binary: str, clip: Clip, choice: OutputChoice) -> list[str]:
    import ffmpeg  # the package of that name, not this room

    words: dict[str, Any] = {"b:v" if key == "b" else key: value for key, value in choice.options.items()}
    for key, value in hdr.encoder_words(clip.picture.hdr, choice.encoder).items():
        words[key] = f"{words[key]}:{value}" if key in words else value
    colour = colour_of(clip, choice)
    names = ("color_primaries", "color_trc", "colorspace")
    tags = dict(zip(names, (colour.primaries, colour.transfer, colour.matrix), strict=True))
    words |= {"color_range": colour.range or 1, **tags}
    if clip.picture.chroma_siting:
        words["chroma_sample_location"] = clip.picture.chroma_siting
    # ProRes and others ask the pictures, not the options.
    video = ffmpeg.input("pipe:0", format="nut").video.filter("setparams", range=colour.range or 1, **tags)
    if ratio := clip.picture.sample_aspect_ratio:
        video = video.filter("setsar", f"{ratio.numerator}/{ratio.denominator}", max=1 << 16)
    if choice.interlaced and clip.picture.field_order in (2, 3, 4, 5):
        field = "bff" if clip.picture.field_order in (3, 5) else "tff"
        video = video.filter("setparams", field_mode=field)
        words["flags"] = "+ildct+ilme"
    output = ffmpeg.output(
        video,
        "pipe:1",
        format="nut",
        vcodec=choice.encoder,
        pix_fmt=choice.pix_fmt,
        fps_mode="passthrough",
        enc_time_base="-1",
        **words,
    )
    command: list[str] = ffmpeg.compile(output.global_args("-v", "error"), cmd=binary)
    return command
