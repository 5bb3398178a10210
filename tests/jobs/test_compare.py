"""Before/after pictures keep planes in step, whatever the subsampling, oddness or rotation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdeblur.frame import Component, Frame, PlaneLayout
from vdeblur.jobs.compare import compared, compared_layout


def frame(width: int, height: int, subsampling: tuple[int, int], value: int) -> Frame:
    layout = PlaneLayout(
        name="test",
        width=width,
        height=height,
        kind="yuv",
        depth=8,
        subsampling=subsampling,
        components=(Component(0), Component(1, 0), Component(1, 1)),
        range="limited",
        matrix="bt709",
    )
    rows, columns = layout.chroma_size
    planes = (np.full((height, width), value, np.uint8), np.full((rows, columns, 2), value, np.uint8))
    return Frame(planes, layout, pts=5, time_base=Fraction(1, 30), duration=1, index=0)


@given(
    width=st.integers(8, 40),
    height=st.integers(8, 40),
    subsampling=st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 1), (1, 2)]),
    rotation=st.sampled_from([0, 90, -90, 180, 270]),
    mode=st.sampled_from(["side", "split"]),
)
def test_planes_fit_their_layout(
    width: int, height: int, subsampling: tuple[int, int], rotation: int, mode: str
) -> None:
    before, after = frame(width, height, subsampling, 10), frame(width, height, subsampling, 20)
    both = compared(before, after, mode, rotation)  # type: ignore[arg-type]
    assert both.layout == compared_layout(before.layout, mode, rotation)  # type: ignore[arg-type]
    assert both.planes[0].shape == (both.layout.height, both.layout.width)
    assert both.planes[1].shape[:2] == both.layout.chroma_size
    assert (both.pts, both.duration) == (5, 1)
    for plane in both.planes:
        assert set(np.unique(plane)) == {10, 20}


@pytest.mark.parametrize(
    ("rotation", "before_part"),
    [(0, np.s_[:, :8]), (180, np.s_[:, 8:]), (90, np.s_[:8]), (-90, np.s_[8:])],
)
def test_before_stands_at_the_left_when_shown(rotation: int, before_part: tuple[slice, ...]) -> None:
    both = compared(frame(8, 8, (2, 2), 10), frame(8, 8, (2, 2), 20), "side", rotation)
    assert (both.planes[0][before_part] == 10).all()
    shown = np.rot90(both.planes[0], rotation // 90)
    assert shown.shape == (8, 16)
    assert (shown[:, :8] == 10).all()
    assert (shown[:, 8:] == 20).all()
