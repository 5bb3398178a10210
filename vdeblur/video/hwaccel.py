"""Whether a GPU's decoder (NVDEC) can take a source: found out by decoding its first pictures both ways.

That a decoder is listed says nothing of a driver, and that it opens says nothing of its pictures. It is used
only where it gives the same planes, times and side data as the processor's, bit for bit.
"""

from __future__ import annotations

import dataclasses
from itertools import islice, zip_longest
from typing import Any, Literal

import av

from vdeblur.errors import VdeblurError
from vdeblur.frame import Frame
from vdeblur.video.clip import Clip
from vdeblur.video.reader import Reader, digest
from vdeblur.video.source import is_url

HwAccel = Literal["auto", "cuda", "none"]
TRIAL = 8
"""Pictures that are decoded both ways."""


def for_decoding(clip: Clip, asked: HwAccel) -> Clip:
    """The clip, to be decoded as was asked; a warning among its own says why the GPU does not do it.

    `auto` is the processor: decoding 720p takes it under 2 ms, and of a GPU nothing was measured yet.
    """
    if asked != "cuda":
        return clip
    why = _why_not(clip)
    if why is None:
        return dataclasses.replace(clip, by_gpu=True)
    said = f"--hwaccel cuda: {why}; the processor decodes"
    return dataclasses.replace(clip, warnings=(*clip.warnings, said))


def _why_not(clip: Clip) -> str | None:
    if clip.pictures:
        return "this is for videos"
    if clip.source == "-" or is_url(clip.source):
        return "a source that can be read only once cannot be tried"
    try:
        there = first_pictures(dataclasses.replace(clip, by_gpu=True))
    except (VdeblurError, av.FFmpegError, RuntimeError, NotImplementedError, OSError) as error:
        cause = error.__cause__ or error
        return f"the GPU does not decode it here ({getattr(cause, 'strerror', None) or cause})"
    here = first_pictures(clip)
    if any(a != b for a, b in zip_longest(there, here)):
        return "the GPU's pictures, times or side data are not the same"
    return None


def first_pictures(clip: Clip) -> list[tuple[Any, ...]]:
    """What must be the same, of each of the first pictures."""
    with Reader(clip, keep_partial=True) as reader:
        return [_facts(frame) for frame in islice(reader, TRIAL)]


def _facts(frame: Frame) -> tuple[Any, ...]:
    carried = sorted(str(data.type) for data in frame.side.side_data)
    return frame.pts, frame.duration, digest(frame), carried
