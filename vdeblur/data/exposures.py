"""Blurred exposures from sharp video: neighbouring frames averaged in linear light.

Where a thing moves by more than a pixel between two frames, an average of few frames is a row of ghosts, so
frames are interpolated between them along the optical flow (OpenCV's DIS). The sharp side is the source frame
at the middle of the exposure, exactly as it is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vdeblur.data.drawings import Picture
from vdeblur.data.opencv import opencv
from vdeblur.data.sensor import Light, Response

MOST_BETWEEN = 32
"""Interpolated steps from one frame to the next, at most."""
APART_PX = 1.4
"""How far apart two sub-frames may be: a pixel, and something for the flow's error at edges and borders."""
FEWEST = 5
"""Sub-frames of an exposure that is shorter than so many frames."""
_TRUSTED = 0.1
"""Share of the picture that the flow must explain: else there is a cut between two frames."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """A blurred and a sharp picture, HxWx3 uint8, and how the first came about.

    middle      number of the sharp frame in its video
    sub_frames  pictures averaged, an odd number
    between     steps from one source frame to the next: 1 where nothing was interpolated
    shot        counts the cuts before this frame
    """

    blurred: Picture
    sharp: Picture
    middle: int
    sub_frames: int
    between: int
    shot: int


def exposures(frames: Iterator[Picture | None], frames_open: float, response: Response) -> Iterator[Exposure]:
    """Exposures of a video that follow each other without a gap; none reaches over a cut.

    frames       HxWx3 uint8, evenly spaced in time; None where they are not, which counts as a cut
    frames_open  how long the shutter is open, in source frames (may be below 1)
    """
    reach = math.ceil(frames_open / 2) + 1
    stride = stride_of(frames_open)
    window: deque[_Step] = deque(maxlen=2 * reach)  # the steps from each frame to its next
    before: Picture | None = None
    shot = 0
    due = 0  # the next middle of an exposure
    number = -1
    for frame in frames:
        if frame is None:
            shot += bool(window)
            window.clear()
            before, due = None, number + 1
            continue
        number += 1
        if before is not None:
            window.append(_Step(before, frame, response))
            if window[-1].is_cut:
                shot += 1
                window.clear()
                due = number
        before = frame
        middle = number - reach
        if middle < due or len(window) < 2 * reach:
            continue
        yield _expose(list(window), reach, frames_open, response, middle, shot)
        due = middle + stride


def stride_of(frames_open: float) -> int:
    """Source frames from the middle of one exposure to that of the next."""
    return max(1, round(frames_open))


def _expose(
    steps: list[_Step], reach: int, frames_open: float, response: Response, middle: int, shot: int
) -> Exposure:
    inner = steps[reach - math.ceil(frames_open / 2) : reach + math.ceil(frames_open / 2)]
    speed_px = float(np.mean([step.speed_px for step in inner]))
    between = min(MOST_BETWEEN, max(1, math.ceil(speed_px / APART_PX)))
    if frames_open * between < FEWEST and (between > 1 or frames_open < 3):
        between = math.ceil(FEWEST / frames_open)
    half = int(frames_open * between) // 2  # so that 2 half + 1 sub-frames come nearest to the time open
    total: Light | None = None
    for offset in range(-half, half + 1):
        step, part = divmod(offset + reach * between, between)
        light = steps[step].light(part / between) if step < len(steps) else steps[-1].light(1.0)
        total = light.copy() if total is None else total + light
    assert total is not None
    count = 2 * half + 1
    code = response.code(np.asarray(total / count, np.float32))
    blurred = np.asarray(np.clip(code + 0.5, 0, 255), np.uint8)
    return Exposure(blurred, steps[reach].first, middle, count, between, shot)


class _Step:
    """Two frames that follow each other, and the motion between them."""

    def __init__(self, first: Picture, second: Picture, response: Response) -> None:
        self.first, self.second = first, second
        self._response = response

    @cached_property
    def _flow(self) -> tuple[Any, Any]:
        """Forth and back, HxWx2 in pixels."""
        cv2 = opencv()
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (self.first, self.second)]
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return dis.calc(grey[0], grey[1], None), dis.calc(grey[1], grey[0], None)

    @cached_property
    def speed_px(self) -> float:
        """How far the faster parts of the picture move."""
        return float(np.percentile(np.hypot(*np.moveaxis(self._flow[0][::4, ::4], 2, 0)), 98))

    @cached_property
    def is_cut(self) -> bool:
        """Whether the flow forth and back hardly agrees anywhere."""
        forth, back = self._flow
        returned = self._carried(back, forth)
        agrees = np.square(forth + returned).sum(axis=2) < 1.0
        change = np.abs(self._carried(self.second, forth).astype(np.int16) - self.first).max(axis=2)
        return bool((agrees & (change < 48)).mean() < _TRUSTED)

    def light(self, part: float) -> Light:
        """The light at a moment between the two, from 0 to 1.

        Flow to either frame is put together from forth and back (Jiang et al., Super SloMo, 2018, equation
        4).
        """
        if part == 0.0:
            return self._response.light(self.first)
        if part == 1.0:
            return self._response.light(self.second)
        forth, back = self._flow
        to_first = -(1 - part) * part * forth + part * part * back
        to_second = (1 - part) ** 2 * forth - part * (1 - part) * back
        first = self._carried(self._response.light(self.first), to_first)
        second = self._carried(self._response.light(self.second), to_second)
        return np.asarray((1 - part) * first + part * second, np.float32)

    def _carried(self, picture: Any, flow: Any) -> Any:
        """For each pixel the one of `picture` that the flow points to."""
        cv2 = opencv()
        rows, columns = picture.shape[:2]
        x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        return cv2.remap(
            picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
