"""Pixel formats as layouts: every sample where the layout says, and replacements that lose nothing."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
from video import media

from vdeblur.errors import InputError
from vdeblur.frame import Component
from vdeblur.video import formats

# fmt: off
DIRECT = [
    "yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuvj420p", "yuvj422p", "yuv420p9le",
    "yuv420p10le", "yuv420p12le", "yuv420p14le", "yuv422p10le", "yuv422p12le", "yuv444p10le",
    "yuv444p12le", "yuv444p16le", "nv12", "nv16", "nv21", "nv24", "p010le", "p016le", "p210le", "gray",
    "gray10le", "gray12le", "gray16le", "gbrp", "gbrp10le", "gbrp12le", "gbrp16le", "gbrap", "gbrap10le",
    "yuva420p", "yuva444p10le", "rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb48le", "rgba64le",
    "ya8",
]
# fmt: on
# Formats that swscale writes as well, so that a round trip shows that nothing is lost.
EXACT = {
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "bgr0": "gbrp",
    "rgb48be": "rgb48le",
    "yuv420p10be": "yuv420p10le",
    "gray16be": "gray16le",
    "vuya": "yuva444p",
}


@pytest.mark.parametrize("name", DIRECT)
def test_direct_formats_keep_their_name_and_odd_sizes(name: str) -> None:
    assert formats.lossless_form(name) == (name, None)
    frame = media.new_frame(name, 33, 17)
    planes = formats.views(frame)
    layout = formats.layout_of(name, 33, 17)
    chroma = [part for part in layout.components[1:] if layout.kind == "yuv"]
    assert planes[0].shape[:2] == (17, 33)
    assert all(planes[part.plane].shape[:2] == layout.chroma_size for part in chroma)
    assert planes[0].dtype == (np.uint16 if layout.depth > 8 else np.uint8)
    # Views, not copies: what is written through them is in the frame.
    frame.make_writable()
    formats.views(frame)[0][...] = 7
    assert (formats.views(frame)[0] == 7).all()


@pytest.mark.parametrize(
    "name", ["rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb48le", "gbrp", "gbrap", "gbrp10le"]
)
def test_red_green_and_blue_are_where_the_layout_says(name: str) -> None:
    """swscale is the judge; it goes through YUV to some of the formats, hence the tolerance."""
    source = av.VideoFrame(8, 8, "rgb24")
    formats.views(source)[0][...] = (200, 100, 50)
    planes = formats.views(source.reformat(format=name))
    layout = formats.layout_of(name, 8, 8)
    scale = (1 << layout.depth) - 1
    found = [_component(planes, part)[0, 0] / scale * 255 for part in layout.components]
    np.testing.assert_allclose(found, (200, 100, 50), atol=1)
    if layout.alpha is not None:
        assert (_component(planes, layout.alpha) == scale).all()


@pytest.mark.parametrize(("name", "order"), [("nv12", (0, 1)), ("nv21", (1, 0)), ("p010le", (0, 1))])
def test_semi_planar_chroma_order_and_high_bits(name: str, order: tuple[int, int]) -> None:
    source = av.VideoFrame(8, 8, "yuv420p")
    for plane, value in zip(formats.views(source), (60, 90, 180), strict=True):
        plane[...] = value
    layout = formats.layout_of(name, 8, 8)
    planes = formats.views(source.reformat(format=name))
    assert [part.index for part in layout.components[1:]] == list(order)
    words = [int(_component(planes, part)[0, 0]) >> layout.lsb for part in layout.components]
    np.testing.assert_allclose(words, [v << (layout.depth - 8) for v in (60, 90, 180)], atol=2)


@pytest.mark.parametrize(("name", "form"), EXACT.items())
def test_other_formats_are_replaced_without_loss(name: str, form: str) -> None:
    assert formats.lossless_form(name) == (form, None)
    source = av.VideoFrame(32, 32, form)
    layout = formats.layout_of(form, 32, 32)
    seeded = np.random.default_rng(0)
    for plane in formats.views(source):
        plane[...] = seeded.integers(0, 1 << layout.depth, plane.shape)
    back = formats.views(source.reformat(format=name).reformat(format=form))
    for found, meant in zip(back, formats.views(source), strict=True):
        np.testing.assert_array_equal(found, meant)


@pytest.mark.parametrize("name", ["gbrpf32le", "yaf32le", "gray32le", "cuda"])
def test_formats_without_whole_samples_are_refused(name: str) -> None:
    """FFmpeg's converter crashes on some of them."""
    with pytest.raises(InputError, match=name):
        formats.lossless_form(name)


@pytest.mark.parametrize("name", ["xyz12le", "bayer_rggb8"])
def test_inexact_replacements_are_said(name: str) -> None:
    form, loss = formats.lossless_form(name)
    assert loss is not None
    assert name in loss
    formats.layout_of(form, 8, 8)


def test_tags_and_guesses() -> None:
    assert formats.layout_of("yuv420p", 1280, 720).matrix == "bt709"
    assert formats.layout_of("yuv420p", 720, 576).matrix == "smpte170m"
    assert formats.layout_of("yuv420p", 720, 576, matrix_tag=9).matrix == "bt2020nc"
    assert formats.layout_of("yuv420p", 8, 8).range == "limited"
    assert formats.layout_of("yuv420p", 8, 8, range_tag=2).range == "full"
    assert formats.layout_of("yuvj420p", 8, 8).range == "full"
    assert formats.layout_of("gbrp", 8, 8).range == "full"
    assert formats.layout_of("gbrp", 8, 8, matrix_tag=1).matrix == "rgb"


@pytest.mark.parametrize("name", ["yuv420p", "rgb24", "yuv422p10le", "nv12"])
def test_bottom_up_pictures_are_turned_upright(name: str) -> None:
    """Rows with negative line sizes would be read from outside the picture."""
    frame = media.new_frame(name, 50, 34)
    frame.pts, frame.time_base, frame.color_range = 3, Fraction(1, 25), 2
    graph = av.filter.Graph()
    source = graph.add_buffer(width=50, height=34, format=frame.format, time_base=Fraction(1, 25))
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    graph.push(frame)
    flipped = graph.pull()
    assert flipped.planes[0].line_size < 0
    upright = formats.upright(flipped)
    assert (upright.pts, upright.color_range) == (3, 2)
    for a, b in zip(formats.views(upright), formats.views(frame), strict=True):
        np.testing.assert_array_equal(a, b[::-1])


def _component(planes: tuple[np.ndarray, ...], part: Component) -> np.ndarray:
    plane = planes[part.plane]
    return plane if part.index is None else plane[..., part.index]
