"""What is drawn in a window of any size: before and after, split by a line or beside each other, and words.

Pictures keep their shape; what remains of the window stays black.  The canvas has the window's own size, so
that text is crisp, the mouse needs no scaling, and a large picture in a small window costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vdeblur.data.opencv import opencv
from vdeblur.jobs.live.view import Picture

MODES = ("split", "side by side", "result alone")
MARGIN = 8  # pixels round a box of text
_SCALE, _ROW = 0.5, 21  # of OpenCV's font; pixels from line to line
_LIGHT, _LOUD = (240, 240, 240), (90, 200, 255)  # BGR


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the canvas, in pixels."""

    x: int
    y: int
    width: int
    height: int


def fitted(picture: Picture, room: Box) -> Box:
    """The largest box of the picture's shape in the middle of the room."""
    height, width = picture.shape[:2]
    scale = min(room.width / width, room.height / height)
    own_width = min(max(round(width * scale), 1), room.width)
    own_height = min(max(round(height * scale), 1), room.height)
    x = room.x + (room.width - own_width) // 2
    y = room.y + (room.height - own_height) // 2
    return Box(x, y, own_width, own_height)


def compose(
    before: Picture, after: Picture, mode: str, split: float, width: int, height: int
) -> tuple[Picture, Box]:
    """The canvas, and where the picture (side by side: the result) lies in it.

    before, after    height x width x 3, uint8 RGB, same size
    mode             one of `MODES`
    split            where the line stands, from 0 (all result) to 1 (all source)
    returns          height x width x 3, uint8 BGR as OpenCV shows it
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    if mode == "side by side":
        half = max(width // 2, 1)
        _place(canvas, before, fitted(before, Box(0, 0, half, height)))
        box = fitted(after, Box(width - half, 0, half, height))
        _place(canvas, after, box)
        return canvas, box
    box = fitted(after, Box(0, 0, width, height))
    if mode == "split":
        after = after.copy()
        cut = round(split * after.shape[1])
        after[:, :cut] = before[:, :cut]
    _place(canvas, after, box)
    if mode == "split":
        line = box.x + min(round(split * box.width), box.width - 1)
        canvas[box.y : box.y + box.height, max(line - 2, 0) : line + 2] = 0
        canvas[box.y : box.y + box.height, max(line - 1, 0) : line + 1] = 255
    return canvas, box


def _place(canvas: Picture, picture: Picture, box: Box) -> None:
    cv2 = opencv()
    if picture.shape[:2] != (box.height, box.width):
        shrinks = box.width < picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = cv2.resize(picture, (box.width, box.height), interpolation=how)
    target = canvas[box.y : box.y + box.height, box.x : box.x + box.width]
    target[...] = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)


def text_size(lines: Sequence[str]) -> tuple[int, int]:
    """Width and height in pixels of a box of text, margins included."""
    cv2 = opencv()
    widest = max(
        (cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, _SCALE, 1)[0][0] for line in lines), default=0
    )
    return widest + 2 * MARGIN, len(lines) * _ROW + MARGIN


def write_box(canvas: Picture, lines: Sequence[str], x: int, y: int, *, loud: bool = False) -> None:
    """Light text on a darkened box, in place; what lies outside of `canvas` is cut off.

    canvas    height x width x 3, uint8 BGR
    x, y      the box's upper left corner
    loud      in the colour of what should be noticed
    """
    cv2 = opencv()
    width, height = text_size(lines)
    behind = canvas[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    behind[...] = behind // 4
    for number, line in enumerate(lines, 1):
        place = (x + MARGIN, y + number * _ROW - 2)
        cv2.putText(
            canvas, line, place, cv2.FONT_HERSHEY_SIMPLEX, _SCALE, _LOUD if loud else _LIGHT, 1, cv2.LINE_AA
        )
