"""How much results flicker: the change from frame to frame that motion does not explain.

Of two neighbouring frames the earlier is carried along the optical flow onto the later (OpenCV's DIS, found
on the reference frames: the sharp ones where there are any, else the input); what is left, as mean absolute
difference of luma in 1/255, is taken where the flow forth and back agrees within a pixel.  The index is that
of the results over that of the reference: 1 flickers as the reference does, above 1 more.  Blur that changes
from frame to frame is unsteady too, so the input has an index of its own to be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vdeblur.data.opencv import opencv

Luma = np.ndarray[Any, np.dtype[np.float32]]
_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32) * 255
_LEAST = 0.1  # of the pixels must be explained by the flow: else there is a cut between the frames


@dataclass(frozen=True, slots=True)
class FlickerScore:
    """Mean unexplained change of input, results and reference, in 1/255, over `steps` pairs of frames."""

    input: float
    result: float
    reference: float
    steps: int

    @property
    def index(self) -> float | None:
        """Of the results; None where nothing moves or changes in the reference."""
        return self._over(self.result)

    @property
    def input_index(self) -> float | None:
        """Of the input."""
        return self._over(self.input)

    def _over(self, change: float) -> float | None:
        return change / self.reference if self.reference > 1e-3 else None


class Flicker:
    """Takes the frames of a clip in order; `score` says what came of it.

    Raises MissingRuntimeError when made, where OpenCV does not load.
    """

    def __init__(self) -> None:
        self._cv2 = opencv()
        self._flow = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: tuple[int, tuple[Luma, ...]] | None = None
        self._sums = np.zeros(3)
        self._steps = 0

    def add(self, number: int, shown: Luma, result: Luma, reference: Luma) -> None:
        """The next frame: RGB from 0 to 1 of input, result and reference; `number` as in the source."""
        lumas = tuple(rgb @ _WEIGHTS for rgb in (shown, result, reference))
        if self._before is not None and number == self._before[0] + 1:
            self._compare(self._before[1], lumas)
        self._before = number, lumas

    def score(self) -> FlickerScore | None:
        """None where there were no two neighbouring frames of one shot."""
        if not self._steps:
            return None
        shown, result, reference = (float(change) for change in self._sums / self._steps)
        return FlickerScore(shown, result, reference, self._steps)

    def _compare(self, before: tuple[Luma, ...], after: tuple[Luma, ...]) -> None:
        if before[-1].shape != after[-1].shape or min(after[-1].shape) < 16:
            return
        places, trusted = self._motion(before[-1], after[-1])
        if trusted.mean() < _LEAST:
            return
        for side in range(3):
            carried = self._cv2.remap(before[side], places, None, self._cv2.INTER_CUBIC)
            self._sums[side] += float(np.abs(carried - after[side])[trusted].mean())
        self._steps += 1

    def _motion(self, before: Luma, after: Luma) -> tuple[Any, Any]:
        """For each pixel of the later frame its place in the earlier one, and whether to trust it."""
        codes = [np.clip(np.rint(luma), 0, 255).astype(np.uint8) for luma in (before, after)]
        back, forth = self._flow.calc(codes[1], codes[0], None), self._flow.calc(codes[0], codes[1], None)
        rows, columns = before.shape
        grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
        places = grid + back
        inside = ((places >= 0) & (places <= (columns - 1, rows - 1))).all(axis=-1)
        returned = self._cv2.remap(forth, places, None, self._cv2.INTER_LINEAR)
        return places, inside & (np.square(back + returned).sum(axis=-1) < 1.0)
