"""What pictures look like from far away: 192 bytes each, to see whether a file shows what was put into it.

A look is the mean of Y', Cb and Cr in 8 x 8 cells, as 8-bit codes.  Coding moves a cell's mean by a code or
two at any usable quality; a frame in the wrong place, a green one, one from a broken reference, colours
swapped or planes out of step move it further.  `compared` judges with those bounds, and a frame also
with its neighbours, so that two similar frames in the wrong order are seen where coding tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vdeblur import colour
from vdeblur.errors import InputError
from vdeblur.frame import Component, Plane, PlaneLayout
from vdeblur.video import formats
from vdeblur.video.alignment import Times, matched
from vdeblur.video.contents import BY_DEFAULT, Choose, decoded, time_of
from vdeblur.video.receipt import Fault
from vdeblur.video.source import opened

CELLS = 8
BYTES = 3 * CELLS * CELLS
_SAMPLES = 128  # rows and columns of a plane that are looked at, about

Means = np.ndarray[Any, np.dtype[np.float32]]
Table = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """In 8-bit codes: how far a look may be off.

    rms    over the whole picture, all three components
    cell   in its worst cell
    order  from where on a frame is asked whether it looks more like one of its neighbours
    """

    rms: float
    cell: float
    order: float


CODED = Bounds(rms=8.0, cell=40.0, order=1.0)
"""A result against what was handed to its encoder. Real clips reach 0.5 and 3 at the default quality, 6.5 and
36 at the worst that x264, x265, SVT-AV1 and libvpx offer (docs/reliability.md)."""
DEBLURRED = Bounds(rms=12.0, cell=60.0, order=2.0)
"""A deblurred file against its source."""
_NEIGHBOURS = 6
_CLEARLY = 3.0  # times nearer to another frame than to its own
_USUAL_RMS, _WORST = 0.3, 3.0  # poor quality repeats pictures, and widens `order` up to so many times
_MANY = 0.1  # a share of frames in the wrong place that no coding explains


@dataclass(slots=True)
class Looks:
    """The pictures of a file or a run in order of presentation: times, and `BYTES` each."""

    times: Times
    data: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.data) // BYTES


def look(planes: tuple[Plane, ...], layout: PlaneLayout) -> bytes:
    """The look of one picture; 0.2 ms whatever its size."""
    # Semi-planar formats of more than 8 bits keep them at the upper end of the word.
    scale = 2.0 ** (8 - layout.depth - layout.lsb)
    parts = [_means(planes, component) * np.float32(scale) for component in layout.components]
    if layout.kind == "rgb":
        # The numbers that encoding would make of it: BT.709, limited range.
        weights = colour.MATRICES["bt709"].astype(np.float32)
        rgb = np.stack(parts)
        luma, *chroma = np.tensordot(weights, rgb, axes=1)
        parts = [16 + luma * (219 / 255), *(128 + c * (224 / 255) for c in chroma)]
    if layout.kind == "gray":
        parts = [parts[0], *[np.full((CELLS, CELLS), 128, np.float32)] * 2]
    return bytes(np.clip(np.rint(np.stack(parts)), 0, 255).astype(np.uint8).tobytes())


def looks_of(source: str, choose: Choose = BY_DEFAULT) -> Looks:
    """Decode a file and look at every picture; raises InputError where it cannot be opened."""
    with opened(source) as container:
        video = choose(container)
        video.thread_type = "AUTO"
        tick = Fraction(video.time_base or Fraction(1, 1000))
        found = Looks(Times.of((), tick))
        reformatter = VideoReformatter()
        for picture in decoded(container, video):
            found.times.ticks.append(time_of(picture, tick))
            found.data += _look_at(picture, reformatter)
        return found


def compared(made: Looks, found: Looks, bounds: Bounds) -> tuple[int, list[Fault]]:
    """(pictures of `found` that look as they were made, what is wrong with the others).

    Pictures are paired by time; those without a partner are not judged here (they are missing, which the
    comparison of times says).
    """
    pairs = _pairs(made, found)
    if not len(pairs):
        return 0, []
    a, b = _table(made), _table(found)
    off = np.array([_distance(a[number], b[partner]) for number, partner in pairs])
    order = bounds.order * min(_WORST, max(1.0, float(np.median(off)) / _USUAL_RMS))
    moved = [k for k in range(len(pairs)) if off[k] > bounds.order and _is_another(a, b, *pairs[k], off[k])]
    if len(moved) < _MANY * len(pairs):
        moved = [k for k in moved if off[k] > order]
    wrong = []
    for k in sorted(set(range(len(pairs))) - set(moved)):
        number, partner = pairs[k]
        worst = np.abs(a[number].astype(np.int16) - b[partner]).max()
        if off[k] > bounds.rms or worst > bounds.cell:
            wrong.append(k)
    faults = []
    for what, which in (("show another frame", moved), ("do not look as they should", wrong)):
        if which:
            first = pairs[which[0]][0]
            when = float(made.times.at(first)) if made.times.increase else None
            detail = f"{len(which)} of {len(made)} {what}, the first is number {first}"
            faults.append(Fault("pictures", when, detail))
    return len(pairs) - len(moved) - len(wrong), faults


def _is_another(a: Table, b: Table, number: int, partner: int, off: float) -> bool:
    """Whether a picture clearly looks like one of the frames around its own."""
    first, last = max(0, number - _NEIGHBOURS), min(len(a), number + _NEIGHBOURS + 1)
    return min(_distance(row, b[partner]) for row in a[first:last]) * _CLEARLY < off


def _pairs(made: Looks, found: Looks) -> list[tuple[int, int]]:
    if len(made) == len(found) or not (made.times.increase and found.times.increase):
        return [(k, k) for k in range(min(len(made), len(found)))]
    step = (made.times.at(len(made) - 1) - made.times.at(0)) / max(1, len(made) - 1)
    shift = matched(made.times, found.times, step / 4).shift
    there = np.array(found.times.ticks, np.float64) * float(found.times.tick)
    pairs = []
    for number in range(len(made)):
        when = float(made.times.at(number) + shift)
        partner = int(np.argmin(np.abs(there - when))) if len(there) else -1
        if partner >= 0 and abs(there[partner] - when) <= float(step) / 2:
            pairs.append((number, partner))
    return pairs


def _table(looks: Looks) -> Table:
    return np.frombuffer(bytes(looks.data), np.uint8).reshape(-1, BYTES)


def _distance(a: Any, b: Any) -> float:
    return float(np.sqrt(np.square(a.astype(np.float32) - b).mean()))


def _means(planes: tuple[Plane, ...], component: Component) -> Means:
    """Means of a component's cells, in stored codes."""
    plane = planes[component.plane]
    plane = plane if component.index is None else plane[..., component.index]
    step = [max(1, size // _SAMPLES) for size in plane.shape]
    seen = plane[step[0] // 2 :: step[0], step[1] // 2 :: step[1]].astype(np.float32)
    for axis in (0, 1):
        size = seen.shape[axis]
        starts = np.arange(CELLS) * size // CELLS
        ends = np.maximum(np.arange(1, CELLS + 1) * size // CELLS, starts + 1)
        total = np.insert(np.cumsum(seen, axis=axis, dtype=np.float64), 0, 0.0, axis=axis)
        counts = (ends - starts).reshape((-1, 1) if axis == 0 else (1, -1))
        seen = ((total.take(ends, axis) - total.take(starts, axis)) / counts).astype(np.float32)
    return seen


def _look_at(picture: av.VideoFrame, reformatter: VideoReformatter) -> bytes:
    """Of a decoded picture; one in a format that cannot be read is black, and so no frame of anybody's."""
    try:
        form, _ = formats.lossless_form(picture.format.name)
    except InputError:
        return bytes(BYTES)
    if form != picture.format.name:
        picture = reformatter.reformat(picture, format=form)
    picture = formats.upright(picture)
    layout = formats.layout_of(form, picture.width, picture.height, range_tag=int(picture.color_range))
    return look(formats.views(picture), layout)
