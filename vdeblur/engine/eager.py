"""Plain torch on any device: the path that all others are compared with.

A frame goes in as planes: padded to whole units by repeating its edge, turned into RGB, corrected by the
network, and the difference is added to the original planes. Buffers are made once for a layout and used by
one frame at a time; nothing grows with the frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from vdeblur.engine import guard, planes, shortage, tiles
from vdeblur.engine.corrector import Corrector, calm
from vdeblur.engine.lane import Step
from vdeblur.engine.staging import Staging
from vdeblur.frame import Frame, PlaneLayout


class EagerLane:
    """A corrector opened for one layout; `deblur` gives every frame back, in order."""

    def __init__(self, corrector: Corrector, layout: PlaneLayout, grid: tiles.Grid, strength: float) -> None:
        self.layout = layout
        self.grid = grid
        self._corrector = corrector
        self._strength = strength
        self._staging = Staging(layout, corrector.multiple_of)
        size = (1, 3, grid.height, grid.width)
        self._rgb = torch.empty(size, device=corrector.device, memory_format=torch.channels_last)

    def deblur(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of this layout with the difference added, in new arrays, and their fate.

        Where memory runs out, in smaller tiles from there on.
        """
        for frame in frames:
            yield shortage.going_on(partial(self._one, frame), self._make_less)

    def steps(self, frame: Frame) -> dict[str, Step]:
        """See `lane.Lane`."""
        corrector, height, width = self._corrector, self.layout.height, self.layout.width
        with torch.inference_mode(), calm():
            words = self._uploaded(frame)
            rgb = planes.to_rgb(words, self.layout, out=self._rgb)
            difference = corrector.fast(rgb, self.grid)[..., :height, :width]
            changed = self._added(words, difference)

        def calmly(work: Callable[[], object]) -> Callable[[], object]:
            def start() -> object:
                with torch.inference_mode(), calm():
                    return work()

            return start

        work: dict[str, Callable[[], object]] = {
            "upload": lambda: self._uploaded(frame),
            "planes to RGB": lambda: planes.to_rgb(words, self.layout, out=self._rgb),
            "network": lambda: corrector.fast(rgb, self.grid),
            "residual": lambda: (guard.is_sound(difference), self._added(words, difference)),
            "download": lambda: self._staging.store(frame, changed),
        }
        return {name: Step(calmly(each)) for name, each in work.items()}

    def close(self) -> None:
        """Nothing is in flight; the buffers go with the lane."""

    def _make_less(self) -> None:
        self.grid = self._corrector.smaller(self.grid)

    def _one(self, frame: Frame) -> Frame:
        with torch.inference_mode(), calm():
            words = self._uploaded(frame)
            rgb = planes.to_rgb(words, self.layout, out=self._rgb)
            size = self.layout.height, self.layout.width
            difference, fate = self._corrector.judged(rgb, self.grid, *size)
            if difference is None:
                return dataclasses.replace(frame, fate=fate)
            made = self._staging.store(frame, self._added(words, difference))
            return dataclasses.replace(frame, planes=made, fate=fate)

    def _uploaded(self, frame: Frame) -> list[Tensor]:
        return [part.to(self._corrector.device) for part in self._staging.load(frame)]

    def _added(self, words: list[Tensor], difference: Tensor) -> list[Tensor]:
        return planes.add_difference(words, difference, self.layout, self._strength)
