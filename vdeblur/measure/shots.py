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
SAMPLE = 100  # frames of a clip that are kept until its median is known
_QUALITY = 92


class Gallery:
    """Sees every frame of a clip and keeps few: best, worst, and a sample among which the median is found.

    Memory stays bounded however long the clip is; up to SAMPLE frames the median is exact.
    """

    def __init__(self) -> None:
        self._worths: list[float] = []
        self._ranked = True
        self._sample: list[int] = []
        self._best = self._worst = 0
        self._kept: dict[int, Shot] = {}
        self._chance = np.random.default_rng(0)

    def add(self, row: FrameRow, before: Pixels, after: Pixels) -> None:
        """One frame, RGB from 0 to 1."""
        worth, index = worth_of(row), len(self._worths)
        self._ranked = worth is not None
        self._worths.append(float(index) if worth is None else worth)
        if len(self._sample) < SAMPLE:
            self._sample.append(index)
        elif (place := int(self._chance.integers(index + 1))) < SAMPLE:
            self._sample[place] = index
        if self._worths[index] < self._worths[self._worst]:
            self._worst = index
        if self._worths[index] > self._worths[self._best]:
            self._best = index
        wanted = {*self._sample, self._worst, self._best}
        self._kept = {number: shot for number, shot in self._kept.items() if number in wanted}
        if index in wanted:
            self._kept[index] = Shot(row.clip, row.number, "", _jpeg(before), _jpeg(after))

    def chosen(self) -> list[Shot]:
        """Best, median and worst by gain (by PSNR where there is no network; else last, middle, first)."""
        shown = [(self._worths[index], shot) for index, shot in self._kept.items()]
        return _labelled(shown, self._worths, self._ranked)


def of_all(shots: Sequence[Shot], rows: Sequence[FrameRow]) -> tuple[Shot, ...]:
    """All of them for a few clips; for many only the best, the median and the worst."""
    if len({shot.clip for shot in shots}) <= MANY_CLIPS:
        return tuple(shots)
    worths = {(row.clip, row.number): worth_of(row) for row in rows}
    ranked = None not in worths.values()
    values = {name: float(n) if worth is None else worth for n, (name, worth) in enumerate(worths.items())}
    shown = [(values[shot.clip, shot.number], shot) for shot in shots]
    return tuple(_labelled(shown, list(values.values()), ranked))


def worth_of(row: FrameRow) -> float | None:
    """What frames are ranked by."""
    return row.psnr_input_db if row.gain_db is None else row.gain_db


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


def _labelled(shown: list[tuple[float, Shot]], worths: Sequence[float], ranked: bool) -> list[Shot]:
    """The three of them, best first; `worths` are those of all frames, whether they can be shown or not."""
    if len(worths) < 2:
        return [replace(shot, label="only frame") for _, shot in shown]
    shown = sorted(shown, key=lambda pair: pair[0])
    middle = sorted(worths)[len(worths) // 2]
    nearest = min(range(len(shown)), key=lambda place: abs(shown[place][0] - middle))
    names = ("worst", "median", "best") if ranked else ("first", "middle", "last")
    places = {nearest: names[1], 0: names[0], len(shown) - 1: names[2]}
    return [replace(shown[place][1], label=places[place]) for place in sorted(places, reverse=True)]


def _jpeg(rgb: Pixels) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    codes = np.rint(rgb.clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(codes).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
