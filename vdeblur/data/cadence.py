"""How many frames a video has, and how far apart they usually are, or are not: exposures are of even ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from statistics import fmean, median

from vdeblur.frame import Frame
from vdeblur.video.clip import Clip, Picture
from vdeblur.video.source import demux, opened

APART = 1.5
"""Steps that are longer or shorter than the usual one by more than this factor are no steps of one motion."""
_AGREES = 0.02  # of the step: the header's rate is exact, times may be rounded


def usual_step_s(clip: Clip) -> float | None:
    """Seconds from one frame to the next, most of the time; None where neither times nor header say it.

    Reads the packets of the file, without decoding them.
    """
    rate = clip.picture.rate
    with opened(clip.source) as container:
        stream = container.streams[clip.picture.index]
        pts = sorted({packet.pts for packet in demux(container, stream) if packet.pts is not None})
    steps = [b - a for a, b in pairwise(pts)]
    if not steps:
        return None if rate is None else float(1 / rate)
    middle = median(steps)
    step_s = fmean(step for step in steps if is_even(step, middle)) * float(clip.picture.time_base)
    packets = (1, 2) if clip.picture.interlaced else (1,)  # of a frame: each field may be one
    agrees = rate is not None and any(abs(step_s * n * float(rate) - 1) < _AGREES for n in packets)
    return float(1 / rate) if rate is not None and agrees else step_s


def frames_expected(picture: Picture) -> int:
    """As the header says, or from its duration; 0 where it says neither."""
    if picture.frames_from_header:
        return picture.frames_from_header
    if picture.duration_from_header_s is None or picture.rate is None:
        return 0
    return round(picture.duration_from_header_s * picture.rate)


def is_even(step: float, usual: float) -> bool:
    return usual / APART <= step <= usual * APART


def with_gaps(frames: Iterable[Frame], step_s: float) -> Iterator[Frame | None]:
    """The frames, and None between two that are nearer to or farther from each other than `step_s`."""
    before: Fraction | None = None
    for frame in frames:
        at_s = frame.pts * frame.time_base
        if before is not None and not is_even(float(at_s - before), step_s):
            yield None
        yield frame
        before = at_s
