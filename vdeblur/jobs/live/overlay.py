"""What the screen says beside the picture: the status in words, and these words drawn on a picture.

The words are made once, for the window and for the page; nothing is rounded so that it looks better.
"""

from __future__ import annotations

from collections.abc import Sequence

from vdeblur.data.opencv import opencv
from vdeblur.jobs.live.view import Picture, Status

STALE_S = 1.0
MARGIN = 8  # pixels round a box of text
_SCALE, _ROW = 0.5, 21  # of OpenCV's font; pixels from line to line
_LIGHT, _LOUD = (240, 240, 240), (90, 200, 255)  # BGR


def figures(status: Status, age_s: float) -> list[str]:
    """Lines for the screen: rates, age of the picture, what is computed where, what is being done.

    age_s    of the very picture that is on the screen: one that stays (frozen, source lost) grows old
    """
    age = f"age {status.age_p50_s * 1000:.0f} ms, 95 % under {status.age_p95_s * 1000:.0f} ms"
    if age_s > max(STALE_S, status.age_p95_s):
        age = f"this picture is {age_s:.0f} s old"
    refused = f", {status.refused} not corrected" if status.refused else ""
    lines = [
        f"captured {status.captured_fps:.1f} fps, shown {status.shown_fps:.1f} fps, dropped {status.dropped}"
        + refused,
        age,
        f"{status.step} on {status.device}, strength {status.strength:.0%}",
    ]
    doing = ["frozen"] if status.frozen else []
    if status.recording is not None:
        doing.append(f"recording {status.recording.name}")
    return [*lines, ", ".join(doing)] if doing else lines


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
