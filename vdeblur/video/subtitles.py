"""Text subtitles from one codec to another, cue by cue; times and text stay, styling where both know it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

_MILLISECOND = Fraction(1, 1000)


class TextConverter:
    """One subtitle stream on its way into another codec; used by the writing thread."""

    def __init__(self, output: Any, stream: Any, wanted: str) -> None:
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)
        self.stream = output.add_stream(wanted)
        self.stream.codec_context.subtitle_header = self._decoder.subtitle_header
        self.stream.time_base = _MILLISECOND

    def convert(self, packet: Any) -> Any:
        """The packet in the new codec, or None where nothing is shown."""
        begin = round(packet.pts * packet.time_base / _MILLISECOND)
        length = round((packet.duration or 0) * packet.time_base / _MILLISECOND)
        shown = self._decoder.decode2(packet)
        if shown is None:
            return None
        made = self.stream.codec_context.encode_subtitle(shown)
        made.pts = made.dts = begin
        made.duration, made.time_base, made.stream = length, _MILLISECOND, self.stream
        return made
