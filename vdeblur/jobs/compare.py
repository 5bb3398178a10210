"""Before and after in one picture, on the planes themselves: nothing is converted."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np

from vdeblur.frame import Frame, Plane, PlaneLayout


def compared_layout(layout: PlaneLayout, mode: Literal["side", "split"], rotation: int) -> PlaneLayout:
    """The layout of `compared` pictures: doubled along the axis that is horizontal when shown."""
    if mode == "split":
        return layout
    across, down = layout.subsampling
    if rotation % 180:
        return dataclasses.replace(layout, height=2 * (layout.height - layout.height % down))
    return dataclasses.replace(layout, width=2 * (layout.width - layout.width % across))


def comparing(
    work: Callable[[Iterable[Frame]], Iterator[Frame]],
    frames: Iterable[Frame],
    mode: Literal["side", "split"],
    rotation: int,
) -> Iterator[Frame]:
    """Each frame that `work` gives, in one picture with the frame that it came from."""
    waiting: deque[Frame] = deque()

    def remembered() -> Iterator[Frame]:
        for frame in frames:
            waiting.append(frame)
            yield frame

    for result in work(remembered()):
        yield compared(waiting.popleft(), result, mode, rotation)


def compared(before: Frame, after: Frame, mode: Literal["side", "split"], rotation: int) -> Frame:
    """Before on the left and after on the right, as a player shows them.

    "side" puts the whole pictures beside each other (stacked in storage where the player turns the
    picture by a quarter); "split" shows one picture, its left half before and its right half after.
    A picture turned by 180 degrees or -90 has its "left" at the other end of storage.
    """
    axis = 0 if rotation % 180 else 1
    # A player that turns the picture counter-clockwise by 90 shows the first rows at the left: with
    # FFmpeg's sign (counter-clockwise), 90 keeps the order, -90 and 180 reverse it.
    reverse = rotation % 360 in (180, 270)
    first, second = (after, before) if reverse else (before, after)
    layout = compared_layout(before.layout, mode, rotation)
    join = _beside if mode == "side" else _split
    planes = tuple(
        join(a, b, axis, _length(layout, before, number, axis, mode))
        for number, (a, b) in enumerate(zip(first.planes, second.planes, strict=True))
    )
    return dataclasses.replace(after, planes=planes, layout=layout)


def _length(layout: PlaneLayout, frame: Frame, plane: int, axis: int, mode: str) -> int:
    """How much of a plane to take along the axis, so that all planes stay in step."""
    is_full = frame.planes[plane].shape[axis] == (frame.layout.height, frame.layout.width)[axis]
    length = ((layout.height, layout.width) if is_full else layout.chroma_size)[axis]
    return length // 2 if mode == "side" else length


def _beside(first: Plane, second: Plane, axis: int, length: int) -> Plane:
    part = [slice(None)] * first.ndim
    part[axis] = slice(0, length)
    return np.concatenate((first[tuple(part)], second[tuple(part)]), axis=axis)


def _split(first: Plane, second: Plane, axis: int, length: int) -> Plane:
    result = first.copy()
    part = [slice(None)] * first.ndim
    part[axis] = slice(length // 2, None)
    result[tuple(part)] = second[tuple(part)]
    return result
