"""Which frames are shown in a report, and what they look like: before and after, as JPEG in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np

from vdeblur.measure.rows import FrameRow, Shot

Pixels = np.ndarray[Any, np.dtype[Any]]
MANY_CLIPS = 10  # up to here each clip shows its own frames, above only those of all
_QUALITY = 92


def shot(row: FrameRow, before: Pixels, after: Pixels) -> Shot:
    """One frame, RGB from 0 to 1."""
    return Shot(row.clip, row.number, "", _jpeg(before), _jpeg(after))


def of_clip(shots: Sequence[Shot], own: Sequence[FrameRow]) -> list[Shot]:
    """Best, median and worst by gain (by PSNR where there is no network; else first, middle and last)."""
    if len(shots) < 2:
        return [replace(shot, label="only frame") for shot in shots]
    worth = [row.psnr_input_db if row.gain_db is None else row.gain_db for row in own]
    names = ("first", "middle", "last") if None in worth else ("worst", "median", "best")
    order = list(range(len(shots)))
    if None not in worth:
        order.sort(key=lambda index: worth[index] or 0.0)
    places = {order[0]: names[0], order[len(order) // 2]: names[1], order[-1]: names[2]}
    return [replace(shots[index], label=label) for index, label in reversed(places.items())]


def of_all(shots: Sequence[Shot], rows: Sequence[FrameRow]) -> tuple[Shot, ...]:
    """All of them for a few clips; for many only the best, the median and the worst."""
    if len({shot.clip for shot in shots}) <= MANY_CLIPS:
        return tuple(shots)
    by_name = {(row.clip, row.number): row for row in rows}
    return tuple(of_clip(shots, [by_name[shot.clip, shot.number] for shot in shots]))


def shrunk(picture: bytes, most_bytes: int) -> tuple[bytes, tuple[int, int]]:
    """A JPEG of at most so many bytes, and its (width, height): coarser first, then smaller."""
    from PIL import Image

    with Image.open(BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    size = image.size
    while True:
        for quality in (88, 78, 66):
            buffer = BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= most_bytes:
                return buffer.getvalue(), size
        if min(image.size) < 32:
            return buffer.getvalue(), size
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)


def _jpeg(rgb: Pixels) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    codes = np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(codes).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
