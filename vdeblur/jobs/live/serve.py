"""Live pictures served on: to an address, a pipe, or a virtual camera that other programs can open.

One thread with a slot for one picture: a receiver that is slow or gone never holds up the screen. An address
that is lost is tried again with growing waits.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from av.video.reformatter import VideoReformatter

from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError, presentable, to_install
from vdeblur.jobs.live.capture import FIRST_WAIT_S, LONGEST_WAIT_S, Slot
from vdeblur.jobs.live.picture import SWSCALE, TICK, Captured, Screen
from vdeblur.video.encoding import converted, picture_of

CONNECT_S = 5.0
# scheme -> FFmpeg's muxer
_MUXERS = {"udp": "mpegts", "tcp": "mpegts", "rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv"}
_ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}


def check_output(address: str) -> None:
    """Refuse an address that cannot be served before anything is opened."""
    if address == "-":
        if os.isatty(1):
            raise InputError("--output -: stdout is a terminal; pipe it into a player (`| ffplay -`)")
        return
    if address.startswith("v4l2:"):
        _virtual_cameras()
        return
    scheme = address.partition("://")[0].lower()
    if scheme == "srt":
        raise InputError(
            f"--output {presentable(address)}: this build of FFmpeg (PyAV {av.__version__}) cannot send "
            "srt://; use rtsp://, rtmp:// or udp://"
        )
    if "://" not in address or scheme not in _MUXERS:
        raise InputError(
            f"--output {presentable(address)}: give rtmp://, rtsp://, udp:// or tcp:// with an address, "
            "v4l2:/dev/videoN, or - for a pipe"
        )


class Broadcast:
    """`put` the newest picture; a first connection that fails, or a pipe that ends, is its `failure`."""

    def __init__(self, address: str, rate: float) -> None:
        self.failure: VdeblurError | BrokenPipeError | None = None
        self.message: str | None = None
        self._address, self._rate = address, rate
        self._slot = Slot()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def put(self, captured: Captured) -> None:
        self._slot.put(captured)

    def close(self) -> None:
        self._stop.set()
        self._slot.end()
        self._thread.join(3.0)

    def _run(self) -> None:
        tries, served = 0, False
        name = presentable(self._address)
        while not self._stop.is_set():
            outlet: Encoded | VirtualCamera | None = None
            opened: object = None  # what the pictures are that it was opened for
            try:
                while not self._stop.is_set():
                    captured = self._slot.take(0.2)
                    if captured is None:
                        continue
                    layout = captured.frame.layout
                    form = layout.width, layout.height, captured.look
                    if outlet is None:
                        outlet, opened = self._open(captured), form
                    if form != opened:
                        break  # opened anew for the next picture
                    outlet.send(captured)
                    self.message, tries, served = None, 0, True
            except Exception as error:  # whatever a driver or muxer thinks of: said, and tried again
                if isinstance(error, BrokenPipeError) and self._address == "-":
                    self.failure = BrokenPipeError()
                    return
                why = getattr(error, "strerror", None) or presentable(str(error))
                if not served:
                    self.failure = VdeblurError(f"--output {name}: {why}; is there a receiver?")
                    return
                wait_s = min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S)
                tries += 1
                self.message = f"--output {name}: lost ({why}), trying again in {wait_s:.1f} s"
                self._stop.wait(wait_s)
            finally:
                if outlet is not None:
                    with suppress(Exception):  # the receiver may have gone before us
                        outlet.close()

    def _open(self, first: Captured) -> Encoded | VirtualCamera:
        if self._address.startswith("v4l2:"):
            return VirtualCamera(self._address.removeprefix("v4l2:"), first, self._rate)
        return Encoded(self._address, first, self._rate)


class Encoded:
    """H.264 without delay, to an address or a pipe."""

    def __init__(self, address: str, first: Captured, rate: float) -> None:
        layout, look = first.frame.layout, first.look
        width, height, aspect = layout.width, layout.height, look.aspect
        if look.rotation % 180:
            width, height, aspect = height, width, 1 / aspect
        self._size = width // 2 * 2, height // 2 * 2
        self._screen = Screen()
        self._reformatter = VideoReformatter()
        self._zero = first.frame.pts
        self._last = -1
        scheme = address.partition("://")[0].lower()
        options: dict[str, str] = {}
        if scheme == "rtsp":
            options["rtsp_transport"] = "tcp"
        if scheme == "udp" and "pkt_size" not in address:
            address += ("&" if "?" in address else "?") + "pkt_size=1316"  # whole TS packets in one datagram
        where = "pipe:1" if address == "-" else address
        self._container: Any = av.open(
            where,
            "w",
            format="mpegts" if address == "-" else _MUXERS[scheme],
            options=options,
            timeout=None if address == "-" else CONNECT_S,
        )
        self._stream = self._container.add_stream("libx264", rate=Fraction(round(rate) or 25))
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = *self._size, "yuv420p"
        if aspect != 1:
            context.sample_aspect_ratio = aspect
        context.time_base = self._stream.time_base = TICK
        context.options = {**_ENCODER, "g": str(max(1, round(rate)))}  # a receiver waits a second at most
        context.color_range, context.colorspace = 1, 1
        context.color_primaries = look.primaries if look.primaries != 2 else 1
        context.color_trc = look.transfer if look.transfer != 2 else 1
        self._container.start_encoding()

    def send(self, captured: Captured) -> None:
        frame = captured.frame
        pts = frame.pts - self._zero
        if pts <= self._last:
            return
        self._last = pts
        source = picture_of(frame)
        if captured.look.rotation % 360:  # a stream has no word for it
            turned = dataclasses.replace(captured.look, aspect=Fraction(1))
            source = av.VideoFrame.from_ndarray(self._screen.rgb(frame, turned), format="rgb24")
        elif frame.layout.kind == "gray" and frame.layout.range == "limited":  # full range for swscale
            source = converted(source, "yuv420p", frame.layout, False, self._reformatter)
        is_full = source.format.is_rgb or frame.layout.range == "full"
        picture = self._reformatter.reformat(
            source,
            *self._size,
            "yuv420p",
            src_colorspace=SWSCALE.get(frame.layout.matrix, 1),
            dst_colorspace=1,
            src_color_range=2 if is_full else 1,
            dst_color_range=1,
        )
        picture.pts, picture.time_base = pts, TICK
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def close(self) -> None:
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        finally:
            self._container.close()


class VirtualCamera:
    """A v4l2loopback device (Linux), OBS's on other systems, by pyvirtualcam."""

    def __init__(self, device: str, first: Captured, rate: float) -> None:
        module = _virtual_cameras()
        self._screen = Screen()
        height, width = self._screen.rgb(first.frame, first.look).shape[:2]
        try:
            self._camera = module.Camera(width, height, max(rate, 1.0), device=device)
        except RuntimeError as error:
            raise VdeblurError(
                f"{device} cannot be used as a virtual camera ({error}); "
                "Linux: modprobe v4l2loopback exclusive_caps=1"
            ) from error

    def send(self, captured: Captured) -> None:
        self._camera.send(self._screen.rgb(captured.frame, captured.look))

    def close(self) -> None:
        self._camera.close()


def _virtual_cameras() -> Any:
    try:
        import pyvirtualcam
    except ImportError as error:
        raise MissingRuntimeError(
            f"--output v4l2:...: virtual cameras need pyvirtualcam: {to_install('vdeblur[camera]')}"
        ) from error
    return pyvirtualcam
