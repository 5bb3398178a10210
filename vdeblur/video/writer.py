"""Frames to a video file: encoder opened with its first frame, other streams woven in, renamed when whole.

Every frame keeps its own pts and duration, whether it is encoded here or by the user's own ffmpeg.  What
passes by (other streams, chapters, tags) comes from `Carry`; both are used by the writing thread only, except
`Carry.offer`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vdeblur.frame import Frame
from vdeblur.video.clip import Clip
from vdeblur.video.encoding import Encoding, rate_of, tag_colour
from vdeblur.video.ffmpeg import Program
from vdeblur.video.shapes import shape_of
from vdeblur.video.sink import Sink
from vdeblur.video.templates import add_template


class Passes(Protocol):
    """What a file holds beside the deblurred stream: `Carry`, or nothing."""

    def add_streams(self, output: Any, add_video: Callable[[Any], Any]) -> Any: ...
    def drain(self, sink: Sink, until_s: float | None) -> None: ...


class Alone:
    """Stands where `Carry` stands, for files that hold nothing else."""

    def add_streams(self, output: Any, add_video: Callable[[Any], Any]) -> Any:
        return add_video(output)

    def drain(self, sink: Sink, until_s: float | None) -> None: ...


class Writer:
    """`write` every frame in order, then `finish`; or `abandon` or `leave` at any time.

    shown   times of the frames in the order in which their packets were written
    """

    def __init__(self, sink: Sink, clip: Clip, carry: Passes) -> None:
        self._sink, self._clip, self._choice, self._carry = sink, clip, sink.choice, carry
        self._encoder: Encoding | Program | None = None
        self._stream: Any = None
        self.shown = array("q")

    def write(self, frame: Frame) -> None:
        """Encode one frame; the planes are read during the call only."""
        if self._encoder is None:
            self._sink.scale_times(frame.time_base)
            self._encoder = self._open(frame)
        with self._sink.speaking():
            packets = list(self._encoder.encode(frame))
        self._mux(packets)

    def finish(self) -> Path:
        """Flush the encoder, write what the other streams still hold, close, rename."""
        if self._encoder is not None:
            with self._sink.speaking():
                packets = list(self._encoder.flush())
            self._mux(packets)
        self._carry.drain(self._sink, None)
        return self._sink.finish()

    def abandon(self) -> None:
        """Leave nothing behind; never raises."""
        if isinstance(self._encoder, Program):
            self._encoder.kill()
        self._sink.abandon()

    def leave(self) -> Path | None:
        """Close, and answer with the name under which what was written can be found; never raises."""
        if self._encoder is not None:
            return self._sink.leave()
        self.abandon()
        return None

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._stream is None:  # only what comes back from a program tells what its stream is like
                self._stream = self._add_streams(partial(add_template, stream=packet.stream))
                tag_colour(self._stream.codec_context, self._clip, self._choice)  # NUT holds none
                self._sink.start()
            packet.stream = self._stream
            self.shown.append(packet.pts)
            mux_in_step(self._carry, self._sink, packet)

    def _open(self, first: Frame) -> Encoding | Program:
        if self._choice.by_program:
            return Program(self._clip, self._choice, first)
        rate = rate_of(self._clip)
        self._stream = self._add_streams(lambda out: out.add_stream(self._choice.encoder, rate=rate))
        encoding = Encoding(self._stream, self._choice, self._clip, first)
        self._sink.start()
        return encoding

    def _add_streams(self, add_video: Callable[[Any], Any]) -> Any:
        stream = self._carry.add_streams(self._sink.container, add_video)
        dress_video(self._sink, stream, self._clip)
        return stream


def mux_in_step(carry: Passes, sink: Sink, packet: Any) -> None:
    """Write a packet of the deblurred stream, and before it what is due of the others."""
    when = packet.dts if packet.dts is not None else packet.pts
    if when is not None:
        carry.drain(sink, float(when * packet.time_base))
    sink.mux(packet)


def dress_video(sink: Sink, stream: Any, clip: Clip) -> None:
    """What the container itself says of the deblurred stream: rotation, shape of pixels, alpha, Apple's name
    for HEVC."""
    choice, aspect = sink.choice, clip.picture.sample_aspect_ratio
    if clip.picture.display_matrix:
        stream.set_display_matrix([int(v) for v in np.frombuffer(clip.picture.display_matrix, "<i4")])
    if aspect:  # copies of packets come without it, and not every codec knows it
        stream.codec_context.sample_aspect_ratio = aspect
        if aspect != 1 and choice.container in ("matroska", "webm"):
            sink.aspect = stream.index, aspect
    if choice.family == "vp9" and shape_of(choice.pix_fmt).alpha:
        stream.metadata["alpha_mode"] = "1"  # it lies beside the stream, where nobody looks without a word
    if choice.family == "hevc" and choice.container in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"
