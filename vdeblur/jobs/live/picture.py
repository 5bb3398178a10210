"""What a live source gives as `Frame`s, and `Frame`s as the screen wants them.

A source may change its size or format at any time: every picture says itself how its planes lie. Times are
those of capture, on the clock of `time.monotonic`, in units of `TICK`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from vdeblur.frame import Frame, PlaneLayout
from vdeblur.jobs.live.view import Picture
from vdeblur.video import formats
from vdeblur.video.encoding import picture_of

TICK = Fraction(1, 90000)


MOST_ASPECT = 4
"""Pixels further from square than this, one way or the other, are taken for nonsense."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is meant to be shown, beside what its layout says.

    rotation               as in `video.clip.Picture`: degrees, counter-clockwise
    aspect                 width of a pixel over its height, as it is stored
    primaries, transfer    ITU-T H.273 numbers; 2: not stated
    """

    rotation: int = 0
    aspect: Fraction = Fraction(1)
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True, slots=True)
class Captured:
    """A picture and when it was captured (`time.monotonic`)."""

    frame: Frame
    at_s: float
    look: Look = Look()


class Framer:
    """Pictures of one source as frames, numbered; used by the capturing thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._count = 0

    def decoded(self, picture: av.VideoFrame, at_s: float, aspect: Fraction | None = None) -> Captured:
        """A decoded picture, its planes shared, converted only where its format cannot be read in place."""
        if not aspect or not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT:
            aspect = Fraction(1)
        look = Look(int(picture.rotation), aspect, int(picture.color_primaries), int(picture.color_trc))
        form, _ = formats.lossless_form(picture.format.name)
        if form != picture.format.name:
            picture = self._reformatter.reformat(picture, format=form)
        if any(plane.line_size < 0 for plane in picture.planes):
            picture = formats.upright(picture)
        layout = _layout(
            form, picture.width, picture.height, int(picture.color_range), int(picture.colorspace)
        )
        return Captured(self._frame(formats.views(picture), layout, at_s, picture), at_s, look)

    def bgr(self, pixels: Picture, at_s: float) -> Captured:
        """A picture of OpenCV: height x width x 3, blue first."""
        height, width = pixels.shape[:2]
        layout = _layout("bgr24", width, height, 0, 2)
        return Captured(self._frame((pixels,), layout, at_s, None), at_s)

    def _frame(
        self, planes: tuple[Picture, ...], layout: PlaneLayout, at_s: float, side: av.VideoFrame | None
    ) -> Frame:
        self._count += 1
        return Frame(planes, layout, round(at_s / TICK), TICK, 0, self._count - 1, side)


@lru_cache(maxsize=4)
def _layout(form: str, width: int, height: int, range_tag: int, matrix_tag: int) -> PlaneLayout:
    return formats.layout_of(form, width, height, range_tag=range_tag, matrix_tag=matrix_tag)


# swscale's numbers of the matrices that it knows; the others are shown as BT.709.
SWSCALE = {"fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7}
# Codes of limited range as those of full range: swscale takes all grey for full.
_FULL = np.rint(np.clip((np.arange(256) - 16) * (255 / 219), 0, 255)).astype(np.uint8)


class Screen:
    """Frames as RGB; one for each thread that shows."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: Frame, look: Look = Look()) -> Picture:
        """Height x width x 3, uint8, as a player shows it: turned, pixels that are not square made so by
        enlarging. HDR code values are shown as they are.
        """
        layout = frame.layout
        if layout.name == "bgr24":
            picture: Picture = np.asarray(cv2.cvtColor(frame.planes[0], cv2.COLOR_BGR2RGB), np.uint8)
        else:
            # The decoded picture says more than planes do (fields, siting), which swscale would make use of:
            # then source and result would differ where their planes do not.
            plain = picture_of(dataclasses.replace(frame, side=None))
            shown = self._reformatter.reformat(
                plain,
                width=round(layout.width * max(look.aspect, Fraction(1))),
                height=round(layout.height / min(look.aspect, Fraction(1))),
                format="rgb24",
                src_colorspace=SWSCALE.get(layout.matrix, 1),
                src_color_range=2 if layout.range == "full" else 1,
                dst_color_range=2,
            )
            picture = np.asarray(shown.to_ndarray(), np.uint8)
            if layout.kind == "gray" and layout.range == "limited":
                picture = np.asarray(cv2.LUT(picture, _FULL), np.uint8)
        turns = look.rotation // 90 % 4
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def blended(before: Frame, after: Frame, strength: float) -> Frame:
    """So much of the way from before to after (0 to 1); planes that are equal stay as they are."""
    if strength >= 1.0:
        return after
    if strength <= 0.0:
        return before
    planes = tuple(
        a
        if a is b
        else np.asarray(cv2.addWeighted(np.ascontiguousarray(a), strength, b.copy(), 1 - strength, 0))
        for a, b in zip(after.planes, before.planes, strict=True)
    )
    return dataclasses.replace(after, planes=planes, side=None)
