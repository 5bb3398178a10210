"""Copies of input streams in output containers, and the trial that tells which a muxer takes.

FFmpeg's tables promise more than its muxers keep, so the trial writes a header into memory.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av

from vdeblur.errors import InputError
from vdeblur.video import source
from vdeblur.video.clip import Clip

_TEXT_SCALE = 1_000_000
LAYOUTS = {"1 channels": "mono", "2 channels": "stereo"}
"""What sounds where, of files that only count their channels"""


def add_template(output: Any, stream: Any) -> Any:
    """A copy of an input stream in an output container."""
    made = output.add_stream_from_template(stream, opaque=True)
    context = made.codec_context
    if context is not None and context.name == "hevc" and output.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"
    if context is not None and context.name == "prores":
        context.codec_tag = stream.codec_context.codec_tag  # the profile; without it every one says "422 HQ"
    if stream.type == "audio" and output.format.name == "mp4" and context.name.startswith("pcm_"):
        # MP4 wants to know where each channel of PCM sounds; old files only count them.
        context.layout = LAYOUTS.get(context.layout.name, context.layout.name)
    if context is not None and context.name == "mov_text" and stream.time_base:
        # The muxer compares other streams' bare numbers with this stream's, and puts an empty text before
        # each where they are larger.  With a fine enough scale they never are; the times stay exact.
        finer = -(-_TEXT_SCALE // stream.time_base.denominator)
        made.time_base = stream.time_base / finer
    return made


@dataclass(frozen=True, slots=True)
class Trial:
    """Which streams of a source a muxer refuses, and which are only the text track of its chapters."""

    refused: frozenset[int] = frozenset()
    chapters: frozenset[int] = frozenset()


def trial(clip: Clip, muxer: str) -> Trial:
    """Write headers into memory; pipes and addresses are not opened for it, there the run finds out."""
    if clip.source == "-" or source.is_url(clip.source):
        return Trial()
    with suppress(InputError), source.opened(clip.source) as container:
        refused = frozenset(s.index for s in container.streams if not accepts(muxer, s))
        # QuickTime's chapters are a text track too; PyAV shows no tag, but no muxer takes such a copy.
        texts = [s for s in container.streams if s.type == "data" and s.name == "bin_data" and clip.chapters]
        return Trial(refused, frozenset(s.index for s in texts if not accepts("mov", s)))
    return Trial()


def accepts(muxer: str, stream: Any) -> bool:
    """Whether this muxer writes a header with (a copy of) this stream in it."""
    if stream.type == "data" and stream.name is None and not stream.frames and stream.duration == 0:
        return False
    try:
        output = av.open(io.BytesIO(), "w", format=muxer)
        made = add_template(output, stream)
        if stream.type == "attachment":
            return True  # these go with the header of a file that has pictures
        output.start_encoding()
        if stream.type == "audio" and stream.codec_context.name.startswith("pcm_"):
            # Their channels are only looked at when the file is closed.
            packet = av.Packet(bytes(stream.codec_context.channels * 16))
            packet.stream, packet.pts, packet.dts, packet.time_base = made, 0, 0, stream.time_base
            output.mux(packet)
            output.close()
    except (av.FFmpegError, ValueError, TypeError):
        return False
    return True
