"""Sound that the container does not take, decoded and written without loss: WMA, ADPCM, the LPCM of DVDs.

Matroska holds such sound too, but PyAV's muxer refuses it.  Every sample stays, at its time; sound that comes
as floating point, as lossy codecs give it, is rounded to 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from vdeblur.video.templates import LAYOUTS

LOSSLESS = {"matroska": "flac", "mp4": "alac", "mov": "alac"}
"""muxer -> what it takes from every player's point of view"""
_FORMATS = {("flac", False): "s16", ("flac", True): "s32", ("alac", False): "s16p", ("alac", True): "s32p"}
_JITTER = Fraction(1, 20)  # seconds by which a container may round or shake the times of sound


class SoundConverter:
    """One sound on its way into another codec; used by the writing thread."""

    def __init__(self, output: Any, stream: Any, codec: str, warnings: list[str]) -> None:
        self._decoder = stream.codec_context
        self._source, self._warnings = stream.index, warnings
        self._rate = self._decoder.sample_rate
        self.stream = output.add_stream(codec, rate=self._rate)
        context = self.stream.codec_context
        context.layout = LAYOUTS.get(self._decoder.layout.name, self._decoder.layout.name)
        context.format = _FORMATS[codec, self._decoder.format.name in ("s32", "s32p")]
        self._next: int | None = None  # where the sound has come to, in samples

    def convert(self, packet: Any) -> Iterator[Any]:
        """The packets in the new codec that are known with this one."""
        try:
            frames = self._decoder.decode(packet)
        except av.error.InvalidDataError:
            text = f"stream {self._source}: sound that cannot be decoded is left out"
            if text not in self._warnings:
                self._warnings.append(text)
            return
        yield from self._encoded(frames)

    def rest(self) -> Iterator[Any]:
        """After the last one: what decoder and encoder still hold."""
        yield from self._encoded(self._decoder.decode(None))
        yield from self.stream.encode(None)

    def _encoded(self, frames: list[Any]) -> Iterator[Any]:
        for frame in frames:
            at = self._next or 0
            if frame.pts is not None:
                stated = round(frame.pts * frame.time_base * self._rate)
                if self._next is None or abs(stated - at) > _JITTER * self._rate:
                    at = stated
            frame.pts, frame.time_base = at, Fraction(1, self._rate)
            self._next = at + frame.samples
            yield from self.stream.encode(frame)
