"""Planes to RGB follows the standards, differences come back by the matrix, and zero changes nothing."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from engine import pictures
from engine.pictures import FORMATS, layout, noise_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from vdeblur import colour
from vdeblur.engine import planes
from vdeblur.engine.staging import Staging
from vdeblur.frame import Frame, PlaneLayout

LAYOUTS = st.builds(
    layout,
    st.sampled_from(FORMATS),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["limited", "full"]),
    st.sampled_from([key for key in colour.MATRICES if key != "rgb"]),
)


def components(frame: Frame) -> list[torch.Tensor]:
    """The frame's colour components as the engine sees them, at their own size."""
    staging = Staging(frame.layout, 1)
    parts = zip(staging.load(frame), staging.sizes, strict=True)
    return [part[:, :rows, :columns].clone() for part, (rows, columns) in parts]


def codes_of(frame: Frame) -> list[np.ndarray]:
    """Code values of the colour components, float64."""
    lay = frame.layout
    found = []
    for part in lay.components:
        plane = frame.planes[part.plane]
        found.append(
            ((plane if part.index is None else plane[..., part.index]) >> lay.lsb).astype(np.float64)
        )
    return found


def rgb_by_the_book(frame: Frame) -> np.ndarray:
    """(height, width, 3) in float64, one formula after the other as the standards write them."""
    lay = frame.layout
    luma = colour.luma_codes(lay.depth, lay.range)
    values = [(codes - luma.zero) / luma.unit for codes in codes_of(frame)]
    if lay.kind == "gray":
        values = values * 3
    elif lay.kind == "yuv":
        chroma = colour.chroma_codes(lay.depth, lay.range)
        across, down = lay.subsampling
        rows, columns = np.arange(lay.height) // down, np.arange(lay.width) // across
        y = values[0]
        cb, cr = ((codes - chroma.zero) / chroma.unit for codes in codes_of(frame)[1:])
        yuv = np.stack([y, cb[rows][:, columns], cr[rows][:, columns]], axis=-1)
        return np.clip(yuv @ colour.yuv_to_rgb(lay.matrix).T, 0, 1)
    return np.clip(np.stack(values, axis=-1), 0, 1)


@settings(max_examples=80, deadline=None)
@given(lay=LAYOUTS, multiple=st.sampled_from([1, 4, 8]), seed=st.integers(0, 99))
def test_rgb_is_that_of_the_standards(lay: PlaneLayout, multiple: int, seed: int) -> None:
    frame = noise_frame(lay, seed)
    staging = Staging(lay, multiple)
    found = planes.to_rgb(staging.load(frame), lay)
    assert tuple(found.shape) == (1, 3, *staging.size)
    assert staging.size[0] % multiple == 0
    assert staging.size[1] % multiple == 0
    inside = found[0, :, : lay.height, : lay.width].permute(1, 2, 0).numpy()
    assert np.abs(inside - rgb_by_the_book(frame)).max() < 2e-6
    # What was padded repeats the edge (with chroma: of its block).
    beyond = lay.chroma_size[0] * lay.subsampling[1] if lay.kind == "yuv" else lay.height
    if beyond < staging.size[0]:
        assert torch.equal(found[..., beyond:, :], found[..., -1:, :].expand_as(found[..., beyond:, :]))


@settings(max_examples=60, deadline=None)
@given(lay=LAYOUTS, seed=st.integers(0, 99), strength=st.sampled_from([0.5, 1.0]))
def test_a_difference_comes_back_by_the_matrix(lay: PlaneLayout, seed: int, strength: float) -> None:
    """Against the same sum in float64: the matrix without offset, block means, one rounding, one clip."""
    frame = noise_frame(lay, seed)
    words = components(frame)
    change = torch.randn((1, 3, lay.height, lay.width), generator=torch.Generator().manual_seed(seed)) * 0.1
    found = planes.add_difference(words, change, lay, strength)
    wide = change[0].permute(1, 2, 0).numpy().astype(np.float64) * strength
    luma, chroma = colour.luma_codes(lay.depth, lay.range), colour.chroma_codes(lay.depth, lay.range)
    if lay.kind == "rgb":
        expected = [(wide[..., i] * luma.unit, luma) for i in range(3)]
    else:
        yuv = wide @ colour.MATRICES[lay.matrix].T
        expected = [(yuv[..., 0] * luma.unit, luma)]
        if lay.kind == "yuv":
            expected += [(block_mean(yuv[..., i], lay) * chroma.unit, chroma) for i in (1, 2)]
    for (delta, codes), before, after in zip(expected, codes_of(frame), found, strict=True):
        limits = np.minimum(before, codes.low), np.maximum(before, codes.high)
        wanted = np.clip(before + delta, *limits)
        got = (after[0].to(torch.int32).numpy() & (0xFFFF if lay.depth > 8 else 0xFF)) >> lay.lsb
        # Half a code from rounding, and what float32 adds to it.
        assert np.abs(got - wanted).max() <= 0.5 + 1e-4 * (1 << max(0, lay.depth - 8))


def block_mean(values: np.ndarray, lay: PlaneLayout) -> np.ndarray:
    """Mean over the luma pixels of each chroma sample, of those that exist."""
    across, down = lay.subsampling
    rows, columns = lay.chroma_size
    return np.array(
        [
            [values[down * i : down * (i + 1), across * j : across * (j + 1)].mean() for j in range(columns)]
            for i in range(rows)
        ]
    )


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "nv12", "p010le", "gray", "gbrp", "rgb24"])
def test_codes_are_clipped_to_the_range_once_and_never_pushed_out(name: str) -> None:
    lay = layout(name, 16, 16, "limited")
    words = components(noise_frame(lay, 1))
    for sign in (1.0, -1.0):
        change = torch.full((1, 3, 16, 16), 2.0 * sign)
        luma = colour.luma_codes(lay.depth, lay.range)
        before = words[0].to(torch.int32) >> lay.lsb & (1 << lay.depth) - 1
        after = planes.add_difference(words, change, lay)[0].to(torch.int32) >> lay.lsb & (1 << lay.depth) - 1
        limit = before.clamp(min=luma.high) if sign > 0 else before.clamp(max=luma.low)
        assert torch.equal(after, limit)


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc", "smpte240m", "fcc", "ycgco"])
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p12le", "yuvj444p"])
def test_what_a_network_adds_is_what_a_viewer_sees(name: str, matrix: str) -> None:
    """Planes plus a difference, read as RGB again: that RGB plus the difference, up to a step."""
    lay = layout(name, 24, 16, matrix=matrix)
    frame = pictures.smooth_frame(lay)
    words = components(frame)
    change = torch.rand((1, 3, 16, 24), generator=torch.Generator().manual_seed(0)) * 0.04 - 0.02
    before = planes.to_rgb(words, lay)
    sound = ((before + change) > 0.01) & ((before + change) < 0.99) & (before > 0) & (before < 1)
    after = planes.to_rgb(planes.add_difference(words, change, lay), lay)
    step = 2.0 / (1 << lay.depth)  # half a step of luma and of two chroma samples
    error = (after - before - change).abs().where(sound.all(1, keepdim=True), torch.zeros(()))
    assert float(error.max()) < 1.5 * step


@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize(("matrix", "space"), [("bt709", 1), ("smpte170m", 5), ("bt2020nc", 9)])
def test_rgb_agrees_with_swscale(range_: str, matrix: str, space: int) -> None:
    """An outside judge: FFmpeg's own conversion of the same planes (4:4:4, so no filter has a say)."""
    lay = layout("yuv444p", 64, 48, range_, matrix)  # type: ignore[arg-type]
    frame = pictures.smooth_frame(lay)
    native = av.VideoFrame(64, 48, "yuv444p")
    for plane, values in zip(native.planes, frame.planes, strict=True):
        np.frombuffer(plane, np.uint8).reshape(48, plane.line_size)[:, :64] = values
    native.colorspace, native.color_range = space, 1 if range_ == "limited" else 2
    wanted = native.reformat(format="rgb24", dst_color_range=2).to_ndarray().astype(int)
    found = planes.to_rgb(components(frame), lay)[0].permute(1, 2, 0).mul(255).round().numpy().astype(int)
    assert np.abs(found - wanted).max() <= 2
