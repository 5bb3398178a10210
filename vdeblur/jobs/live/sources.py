"""Where live pictures come from: a camera, a device or the screen, a stream, a file played at its own pace.

`open_source` gives something to `read` from, or one line that says what is wrong: InputError for what no
second try can mend, VdeblurError for what may come back (a camera that is busy, a stream that is silent).
Used by the capturing thread only; a read may block as long as the source is silent.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import av
import cv2
import numpy as np

from vdeblur.errors import InputError, VdeblurError
from vdeblur.jobs.live.clocks import ArrivalClock, Pace
from vdeblur.jobs.live.picture import Captured, Framer
from vdeblur.video import source as files
from vdeblur.video import trust
from vdeblur.video.names import is_picture
from vdeblur.video.probing import aspect_of
from vdeblur.video.source import is_url

OPEN_S, SILENT_S = 8.0, 10.0
"""A stream must open within the one, and counts as lost after so long without a packet."""
# What a sender's packets wait for on our side, taken away (FFmpeg's formats, options of `av.open`).
LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000", "analyzeduration": "500000"}
_GRABBERS = {"linux": "x11grab", "darwin": "avfoundation", "win32": "gdigrab"}
_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, slots=True)
class SourceAsk:
    """What to open: camera number, device path, address, `screen` or file; `size` is (height, width)."""

    address: str = "0"
    capture: Literal["opencv", "pyav"] = "opencv"
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    loop: bool = False

    @property
    def kind(self) -> Literal["camera", "screen", "stream", "file"]:
        address = self.address
        if address.isdecimal() or address.startswith(("/dev/", "video=")):
            return "camera"
        if address == "screen":
            return "screen"
        return "stream" if is_url(address) else "file"

    def check(self) -> None:
        """Refuse what cannot work before anything is opened."""
        if self.loop and self.kind != "file":
            raise InputError(f"--loop: only for files, {self.address} has no end")
        if self.size and self.kind in ("stream", "file"):
            raise InputError(f"--size: only for cameras and the screen; {self.address} has its own size")
        if self.rate and self.kind == "stream":
            raise InputError(f"--rate: {self.address} has its own rate")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise InputError(f"--rate {float(self.rate):g}: give pictures a second, above 0 and at most 1000")
        if self.kind == "file" and not Path(self.address).exists():
            raise InputError(
                f"{self.address}: no such file, camera or address (cameras are named by number: 0, 1, ...)"
            )
        if self.kind == "file" and (Path(self.address).is_dir() or is_picture(Path(self.address))):
            raise InputError(
                f"{self.address}: live plays videos, cameras and streams; `vdeblur {self.address}` deblurs "
                "pictures and folders"
            )


class Source(Protocol):
    """Something open that gives pictures; `rate` is what it claims, `waits` that it does not run away."""

    rate: Fraction | None
    waits: bool

    def read(self) -> Captured | None:
        """The next picture, None when a file is over; raises VdeblurError when the source is lost."""
        ...

    def close(self) -> None: ...


def open_source(ask: SourceAsk) -> Source:
    """See the module's text."""
    if ask.kind == "camera":
        return Camera(ask) if ask.capture == "opencv" else Stream(ask, *_device(ask))
    if ask.kind == "screen":
        return Stream(ask, *_screen(ask))
    if ask.kind == "stream":
        return Stream(ask, ask.address, None, _stream_options(ask.address))
    return Playback(ask)


class Camera:
    """A camera through OpenCV, with as short a queue in its driver as there is."""

    waits = False

    def __init__(self, ask: SourceAsk) -> None:
        self._name = f"camera {ask.address}"
        self._framer = Framer()
        number: Any = int(ask.address) if ask.address.isdecimal() else ask.address
        if sys.platform == "linux":
            _refuse_device(f"/dev/video{number}" if isinstance(number, int) else number, self._name)
        cv2.utils.logging.setLogLevel(0)  # it writes lines of its own to stderr
        self._camera = cv2.VideoCapture(number, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        if not self._camera.isOpened():
            raise VdeblurError(
                f"{self._name}: gives no pictures; is another program using it, or is it no camera?"
            )
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if ask.size:
            # Uncompressed, USB 2 carries 5 to 10 large pictures a second; who has no JPEG ignores this.
            self._camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            self._camera.set(cv2.CAP_PROP_FRAME_WIDTH, ask.size[1])
            self._camera.set(cv2.CAP_PROP_FRAME_HEIGHT, ask.size[0])
        if ask.rate:
            self._camera.set(cv2.CAP_PROP_FPS, float(ask.rate))
        rate = self._camera.get(cv2.CAP_PROP_FPS)
        self.rate = Fraction(rate).limit_denominator(1001) if rate > 0 else ask.rate

    def read(self) -> Captured:
        good, pixels = self._camera.read()
        if not good:
            raise VdeblurError(f"{self._name}: gives no pictures any more")
        now = time.monotonic()
        # V4L2's drivers stamp their buffers on the same clock: then waiting in the driver counts too.
        stamped = self._camera.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return self._framer.bgr(np.asarray(pixels, np.uint8), stamped if 0 <= now - stamped < 5 else now)

    def close(self) -> None:
        self._camera.release()


class Stream:
    """A network stream, or a device that FFmpeg reads, decoded without delay."""

    def __init__(self, ask: SourceAsk, address: str, form: str | None, options: dict[str, str]) -> None:
        self._name = files.shown_name(ask.address) if ask.kind != "camera" else f"camera {ask.address}"
        self._framer, self._clock = Framer(), ArrivalClock()
        self._container: Any = None
        try:
            self._container = av.open(
                address, format=form, options=options, timeout=(OPEN_S, SILENT_S), metadata_errors="ignore"
            )
            self._video = files.choose_video(self._container, self._name, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise _refusal(error, ask, self._name) from error
        except VdeblurError:
            self.close()
            raise
        self._video.thread_type = "SLICE"  # frame threads would hold pictures back
        context = self._video.codec_context
        if ask.kind == "camera" and (context.pix_fmt or "").startswith("gray") and not context.color_range:
            context.color_range = 2  # a sensor's own numbers; untagged grey of a file is limited
        for other in self._container.streams:
            if other.index != self._video.index:
                other.discard = av.stream.Discard.all
        rate = self._video.average_rate or self._video.guessed_rate
        self.rate = Fraction(rate) if rate and rate <= 1000 else ask.rate
        self._pictures = _decoded(self._container, self._video)
        # What is no stream but lies on a server, whole or in parts, comes faster than it is to be shown. Of
        # parts nobody but the list knows whether more will come, and the list's own size says nothing.
        in_parts = self._container.format.name in ("hls", "dash")
        whole = self._container.size > 0 and not in_parts
        self._ends = ask.kind == "stream" and (whole or bool(self._container.duration))
        self.waits = self._ends or in_parts
        self._pace = Pace(self.rate) if self.waits else None

    def read(self) -> Captured | None:
        try:
            picture = next(self._pictures, None)
        except (av.FFmpegError, OSError) as error:
            silent = isinstance(error, av.error.ExitError | av.error.TimeoutError)
            why = f"silent for {SILENT_S:.0f} s" if silent else error.strerror or type(error).__name__
            raise VdeblurError(f"{self._name}: lost ({why})") from error
        if picture is None:
            if self._ends:
                return None
            raise VdeblurError(f"{self._name}: the sender has ended it")
        if self._pace is not None:
            at_s = self._pace.wait_for(picture.time)
        else:
            at_s = self._clock.captured_at(picture.time, time.monotonic())
        return self._framer.decoded(picture, at_s, aspect_of(self._video))

    def close(self) -> None:
        if self._container is not None:
            files.close(self._container)
            self._container = None


class Playback:
    """A file as if it were a camera: pictures when they are due."""

    waits = True

    def __init__(self, ask: SourceAsk) -> None:
        self._ask, self._framer = ask, Framer()
        self._open()
        rate = ask.rate or self._video.average_rate or self._video.guessed_rate
        self.rate = Fraction(rate) if rate else None
        self._pace = Pace(self.rate, steady=ask.rate is not None)

    def read(self) -> Captured | None:
        picture = next(self._pictures, None)
        if picture is None and self._ask.loop and self._pace.begun:
            self.close()
            self._open()
            self._pace.jump()
            picture = next(self._pictures, None)
        if picture is None:
            return None
        return self._framer.decoded(picture, self._pace.wait_for(picture.time), aspect_of(self._video))

    def close(self) -> None:
        files.close(self._container)

    def _open(self) -> None:
        self._container = files.open_source(self._ask.address)
        self._video = files.choose_video(self._container, self._ask.address, None)
        self._video.thread_type = "AUTO"
        self._pictures = _decoded(self._container, self._video)


def _decoded(container: Any, video: Any) -> Iterator[av.VideoFrame]:
    """Pictures, past what does not decode: a stream may begin or be hit in the middle of one."""
    for packet in container.demux(video):
        try:
            yield from (picture for picture in video.decode(packet) if not picture.is_corrupt)
        except (av.error.InvalidDataError, av.error.PatchWelcomeError):
            continue


def _device(ask: SourceAsk) -> tuple[str, str, dict[str, str]]:
    """(address, FFmpeg's format, options) of a camera."""
    form = _CAMERAS.get(sys.platform, "v4l2")
    _need_format(form, "--capture pyav", "use --capture opencv")
    options = {"framerate": str(float(ask.rate))} if ask.rate else {}
    if ask.size:
        options["video_size"] = f"{ask.size[1]}x{ask.size[0]}"
    address = ask.address
    if form == "v4l2" and address.isdecimal():
        address = f"/dev/video{address}"
    if form == "v4l2":
        _refuse_device(address, f"camera {ask.address}")
    if form == "avfoundation":
        options.setdefault("framerate", "30")  # it refuses cameras that have not its own default rate
    return address, form, options


def _screen(ask: SourceAsk) -> tuple[str, str, dict[str, str]]:
    form = _GRABBERS.get(sys.platform, "x11grab")
    _need_format(form, "screen", "play a stream of it with another program, e.g. OBS to udp://")
    options = {"framerate": str(float(ask.rate or 30))}
    if ask.size:
        options["video_size"] = f"{ask.size[1]}x{ask.size[0]}"
    if form != "x11grab":
        return ("Capture screen 0:none" if form == "avfoundation" else "desktop"), form, options
    display = os.environ.get("DISPLAY")
    if not display:
        raise InputError("screen: there is no X display here (DISPLAY is not set)")
    return display, form, options


def _stream_options(address: str) -> dict[str, str]:
    options = trust.options_for_url(address)
    if not address.lower().startswith("http"):
        options |= LOW_DELAY  # it would throw away the beginning of what is stored on a server
    if address.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # UDP loses packets of big pictures on the way
    if address.lower().startswith("udp"):
        options |= {"fifo_size": "50000", "overrun_nonfatal": "1"}
    return options


def _need_format(form: str, what: str, instead: str) -> None:
    if not any(form in name.split(",") for name in av.formats_available):
        raise InputError(f"{what}: this build of FFmpeg (PyAV {av.__version__}) has no {form}; {instead}")


def _refuse_device(path: str, name: str) -> None:
    """One line for a device that is not there or may not be read, before a library says it in five."""
    if not Path(path).exists():
        there = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise VdeblurError(f"{name}: there is no {path} (cameras here: {there}); is it plugged in?")
    if not os.access(path, os.R_OK | os.W_OK):
        raise InputError(f"{name}: no permission for {path}; add yourself to its group (usually `video`)")


def _refusal(error: Exception, ask: SourceAsk, name: str) -> VdeblurError:
    """What FFmpeg says at opening as a sentence."""
    if isinstance(error, av.error.ProtocolNotFoundError):
        protocol = ask.address.partition(":")[0]
        return InputError(
            f"{name}: this build of FFmpeg (PyAV {av.__version__}) cannot receive {protocol}://; "
            "let the sender use rtsp, udp or http"
        )
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return VdeblurError(f"{name}: no picture within {OPEN_S:.0f} s; is the sender running?")
    if ask.kind == "screen":
        return InputError(f"{name}: the display {os.environ.get('DISPLAY', '')} cannot be read ({error})")
    code = getattr(error, "errno", None)
    if code == errno.EBUSY:
        return VdeblurError(f"{name}: another program is using it; close that first")
    if code == errno.ECONNREFUSED:
        return VdeblurError(f"{name}: nobody is there (connection refused); is the sender running?")
    if isinstance(error, av.error.InvalidDataError):
        return VdeblurError(f"{name}: what comes is no video")
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return VdeblurError(f"{name}: cannot be opened ({text})")
