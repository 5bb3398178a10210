"""Neighbours in time: a window of frames around one, never across a clip's border."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from vdeblur.data.partners import PairedClip, PairedFrame


def window(clip: PairedClip, index: int, k: int) -> tuple[PairedFrame, ...]:
    """The `k` frames (odd) around the frame at `index`, in order of time.

    At the clip's borders, and where frame numbers leap, the last frame before the border is repeated.
    """
    if k < 1 or k % 2 == 0:
        raise ValueError(f"a window of {k} frames has no middle; k must be odd")
    if not 0 <= index < len(clip.frames):
        raise IndexError(f"{clip.name}: frame {index} of {len(clip.frames)}")
    step = _step(clip.frames)
    before = _walk(clip.frames, index, -1, step, k // 2)
    after = _walk(clip.frames, index, 1, step, k // 2)
    return (*reversed(before), clip.frames[index], *after)


def _step(frames: Sequence[PairedFrame]) -> int:
    """Between two numbers of a gapless clip: the smallest there is (every tenth frame is a series too)."""
    return min((b.number - a.number for a, b in pairwise(frames)), default=1)


def _walk(frames: Sequence[PairedFrame], index: int, way: int, step: int, count: int) -> list[PairedFrame]:
    """`count` frames from, not including, `index`, the nearest first."""
    found: list[PairedFrame] = []
    for _ in range(count):
        further = index + way
        if 0 <= further < len(frames) and (frames[further].number - frames[index].number) * way == step:
            index = further
        found.append(frames[index])
    return found
