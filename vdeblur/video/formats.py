"""FFmpeg's pixel formats as plane layouts, and a decoded picture's planes as numpy views.

`layout_of` reads a format as it lies in memory; `lossless_form` names the format that takes the place of
one that cannot be read so (palettes, macro-pixels, big-endian words), and says where that loses something.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache

import av
import numpy as np

from vdeblur import colour
from vdeblur.errors import InputError
from vdeblur.frame import Component, Kind, Plane, PlaneLayout, Range

# Order of the components inside a packed pixel: R, G, B (then alpha).  PyAV does not tell it.
_PACKED = {
    "rgb24": (0, 1, 2),
    "bgr24": (2, 1, 0),
    "rgba": (0, 1, 2, 3),
    "bgra": (2, 1, 0, 3),
    "argb": (1, 2, 3, 0),
    "abgr": (3, 2, 1, 0),
    "rgb48le": (0, 1, 2),
    "bgr48le": (2, 1, 0),
    "rgba64le": (0, 1, 2, 3),
    "bgra64le": (2, 1, 0, 3),
    "ya8": (0, 1),
    "ya16le": (0, 1),
}
# Y in one plane, both chroma components in the other; nv21 and nv42 hold Cr before Cb.
_SEMI_PLANAR = re.compile(r"nv(12|16|24|21|42|20le)|p[024]1[026]le")

# What takes the place of a format whose samples are not whole words, of those that decoders give.
_REPLACED = {
    "pal8": "bgra",
    "monow": "gray",
    "monob": "gray",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "uyyvyy411": "yuv411p",
    "v30xle": "yuv444p10le",
    "ayuv64le": "yuva444p16le",
    "vuya": "yuva444p",
    "ayuv": "yuva444p",
    "uyva": "yuva444p",
    "vyu444": "yuv444p",
}


def lossless_form(name: str) -> tuple[str, str | None]:
    """The format in which such pictures reach the engine (mostly `name` itself), and what that loses.

    Raises InputError for formats that cannot be had in whole samples of at most 16 bits.
    """
    if _direct(name):
        return name, None
    # Big-endian words, and samples in the high bits (msb): the same numbers in another order.
    little = (name[:-2] + "le" if name.endswith("be") else name).replace("msb", "")
    if _direct(little):
        return little, None
    if little in _REPLACED:
        return _REPLACED[little], None
    shape = av.VideoFormat(name, 16, 16)
    parts = shape.components
    small = all(part.bits <= 8 and not part.is_alpha for part in parts)
    if shape.is_rgb and small and not (shape.is_bayer or shape.is_bit_stream):
        return "gbrp", None
    # Nothing is tried that FFmpeg may not know: its converter crashes on some formats of floats.
    if not parts or any(part.bits > 16 for part in parts) or re.search(r"f(16|32)", name):
        raise InputError(f"pictures in FFmpeg's format {name} are not supported")
    form = "gbrap" if any(part.is_alpha for part in parts) else "gbrp"
    deepest = max(part.bits for part in parts)
    form += {8: "", 12: "12le"}.get(max(8, deepest), "16le")
    return form, f"pictures in {name} are converted to {form}, which is not exact"


def layout_of(name: str, width: int, height: int, *, range_tag: int = 0, matrix_tag: int = 2) -> PlaneLayout:
    """How to read pictures of that format; tags are H.273 numbers, untagged ones get the usual guess.

    Only for formats that `lossless_form` names.
    """
    shape = av.VideoFormat(name, 64, 64)
    parts = shape.components
    alpha = next((k for k, part in enumerate(parts) if part.is_alpha), None)
    kind: Kind = "rgb" if shape.is_rgb else "gray" if len(parts) - (alpha is not None) == 1 else "yuv"
    depth = parts[0].bits
    matrix = "rgb" if kind != "yuv" else colour.matrix_for(matrix_tag, height)
    places = _places(name, kind)
    return PlaneLayout(
        name=name,
        width=width,
        height=height,
        kind=kind,
        depth=depth,
        subsampling=(64 // shape.chroma_width(64), 64 // shape.chroma_height(64))
        if kind == "yuv"
        else (1, 1),
        components=tuple(place for k, place in enumerate(places) if k != alpha),
        range=range_of(name, kind, range_tag),
        matrix=matrix,
        lsb=16 - depth if re.fullmatch(r"p[024]1[026]le|nv20le", name) and name != "nv20le" else 0,
        alpha=None if alpha is None else places[alpha],
    )


def range_of(name: str, kind: Kind, tag: int) -> Range:
    """Tagged range; untagged YUV and grey are limited, RGB and the yuvj formats full."""
    if name.startswith("yuvj") or tag == 2:
        return "full"
    return "full" if kind == "rgb" and tag != 1 else "limited"


def views(frame: av.VideoFrame) -> tuple[Plane, ...]:
    """The planes as arrays without row padding, sharing the frame's memory.

    (rows, columns), or (rows, columns, n) where a plane holds n components.  Call `make_writable` on the
    frame before, never after; the arrays keep the frame's buffers alive.
    """
    counts, wide = _plane_counts(frame.format.name)
    found: list[Plane] = []
    for plane, count in zip(frame.planes, counts, strict=True):
        rows, columns, stride = plane.height, plane.width, plane.line_size
        flat = np.frombuffer(memoryview(plane), np.uint8).reshape(rows, stride)
        words = flat.view(np.uint16) if wide else flat
        if count == 1:
            found.append(words[:, :columns])
        else:
            size = words.itemsize
            steps = (words.strides[0], count * size, size)
            found.append(np.lib.stride_tricks.as_strided(words, (rows, columns, count), steps))
    return tuple(found)


def clip_to_depth(planes: tuple[Plane, ...], layout: PlaneLayout) -> None:
    """Bring samples that their depth does not know back into it, in place.

    FFmpeg fills what a damaged stream lacks with bytes of 0x80, which is 32896 in a 10-bit picture; such
    values abort x264 and its like.
    """
    if not 8 < layout.depth < 16 or layout.lsb:
        return
    top = (1 << layout.depth) - 1
    for plane in planes:
        if plane.max() > top:
            np.minimum(plane, top, out=plane)


def upright(frame: av.VideoFrame) -> av.VideoFrame:
    """The picture, or a copy whose rows lie from top to bottom; some decoders give bottom-up ones.

    Times, colour tags and the key-frame mark come along; side data does not.
    """
    if all(plane.line_size >= 0 for plane in frame.planes):
        return frame
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for target, source in zip(copy.planes, frame.planes, strict=True):
        stride, rows = -source.line_size, source.height
        width = min(stride, abs(target.line_size))
        # The pointer is that of the first row, which lies last in memory.
        first = source.buffer_ptr - (rows - 1) * stride
        bottom_up = np.ctypeslib.as_array((ctypes.c_uint8 * (rows * stride)).from_address(first))
        into = np.frombuffer(memoryview(target), np.uint8).reshape(rows, abs(target.line_size))
        into[:, :width] = bottom_up.reshape(rows, stride)[::-1, :width]
    copy.pts, copy.time_base, copy.duration = frame.pts, frame.time_base, frame.duration
    for tag in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(copy, tag, getattr(frame, tag))
    return copy


@cache
def _plane_counts(name: str) -> tuple[tuple[int, ...], bool]:
    """Components in each plane, and whether samples are 16-bit words."""
    parts = av.VideoFormat(name, 16, 16).components
    planes = max(part.plane for part in parts) + 1
    return tuple(sum(part.plane == k for part in parts) for k in range(planes)), parts[0].bits > 8


@cache
def _direct(name: str) -> bool:
    """Whole little-endian words, every component at a place that we know."""
    try:
        shape = av.VideoFormat(name, 16, 16)
    except ValueError:
        return False
    if shape.is_big_endian or shape.is_bit_stream or shape.has_palette or shape.is_bayer:
        return False
    parts = shape.components
    if not parts or any(part.bits != parts[0].bits for part in parts) or not 8 <= parts[0].bits <= 16:
        return False
    if "msb" in name or re.search(r"f\d\d", name):
        return False
    if name in _PACKED or _SEMI_PLANAR.fullmatch(name):
        return True
    # One component a plane: planar YUV, GBR, grey.
    return len({part.plane for part in parts}) == len(parts)


def _places(name: str, kind: Kind) -> tuple[Component, ...]:
    if name in _PACKED:
        return tuple(Component(0, index) for index in _PACKED[name])
    parts = av.VideoFormat(name, 16, 16).components
    if _SEMI_PLANAR.fullmatch(name):
        first = 1 if name in ("nv21", "nv42") else 0
        return Component(0), Component(1, first), Component(1, 1 - first)
    return tuple(Component(part.plane) for part in parts)
