"""Plane layouts and frames for tests of the engine: formats by their FFmpeg name, noise and photographs."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

from vdeblur.frame import Component, Frame, Plane, PlaneLayout, Range

C = Component
PLANAR = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "411": (4, 1), "440": (1, 2), "410": (4, 4)}
FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv440p", "yuvj420p", "yuvj422p"),
    *("yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p16le"),
    *("nv12", "nv21", "nv16", "p010le", "p016le"),
    *("yuva420p", "yuva444p10le", "gray", "gray10le", "gray16le", "ya8"),
    *("gbrp", "gbrp10le", "gbrap", "gbrp16le", "rgb24", "bgra", "rgb48le"),
]


def layout(
    name: str, width: int, height: int, range_: Range | None = None, matrix: str = "bt709"
) -> PlaneLayout:
    """The layout that FFmpeg means by a name; `range_` None: full for RGB and yuvj, else limited."""
    depth, lsb, sub, kind, alpha = 8, 0, (1, 1), "yuv", None
    if found := re.fullmatch(r"yuv(a|j)?(\d{3})p(\d*)(?:le)?", name):
        sub, depth = PLANAR[found[2]], int(found[3] or 8)
        parts = (C(0), C(1), C(2))
        alpha = C(3) if found[1] == "a" else None
    elif name in ("nv12", "nv21", "nv16", "p010le", "p016le"):
        sub = (2, 1) if name == "nv16" else (2, 2)
        parts = (C(0), C(1, 1), C(1, 0)) if name == "nv21" else (C(0), C(1, 0), C(1, 1))
        depth = {"p010le": 10, "p016le": 16}.get(name, 8)
        lsb = 6 if name == "p010le" else 0
    elif found := re.fullmatch(r"gray(\d*)(?:le)?", name):
        kind, depth, parts = "gray", int(found[1] or 8), (C(0),)
    elif name == "ya8":
        kind, parts, alpha = "gray", (C(0, 0),), C(0, 1)
    elif found := re.fullmatch(r"gbr(a?)p(\d*)(?:le)?", name):
        kind, depth, parts = "rgb", int(found[2] or 8), (C(2), C(0), C(1))
        alpha = C(3) if found[1] else None
    else:
        order = {"rgb24": (0, 1, 2), "bgra": (2, 1, 0), "rgb48le": (0, 1, 2)}[name]
        kind, depth, parts = "rgb", 16 if name == "rgb48le" else 8, tuple(C(0, i) for i in order)
        alpha = C(0, 3) if name == "bgra" else None
    if range_ is None:
        range_ = "full" if kind == "rgb" or name.startswith("yuvj") else "limited"
    matrix = matrix if kind == "yuv" else "rgb"
    return PlaneLayout(name, width, height, kind, depth, sub, parts, range_, matrix, lsb=lsb, alpha=alpha)


def empty_planes(lay: PlaneLayout) -> list[Plane]:
    """Zeros in the shapes of the layout's planes."""
    dtype = np.uint8 if lay.depth + lay.lsb <= 8 else np.uint16
    parts = [*lay.components, *([lay.alpha] if lay.alpha else [])]
    planes: list[Plane] = []
    for number in range(max(part.plane for part in parts) + 1):
        inside = [part for part in parts if part.plane == number]
        is_chroma = lay.kind == "yuv" and inside[0] in lay.components[1:]
        size = lay.chroma_size if is_chroma else (lay.height, lay.width)
        packed = inside[0].index is not None
        planes.append(np.zeros((*size, len(inside)) if packed else size, dtype))
    return planes


def noise_frame(lay: PlaneLayout, seed: int = 0, index: int = 0) -> Frame:
    """Every bit pattern that the words can hold: also codes out of range and bits below the sample."""
    rng = np.random.default_rng(seed)
    planes = empty_planes(lay)
    for plane in planes:
        top = 1 << (lay.depth if lay.lsb == 0 and plane.dtype == np.uint16 else plane.itemsize * 8)
        plane[...] = rng.integers(0, top, plane.shape)
        plane.setflags(write=False)  # planes are read-only by agreement
    return Frame(tuple(planes), lay, 40 * index, Fraction(1, 1000), 40, index, side=("kept", index))


def smooth_frame(lay: PlaneLayout, seed: int = 0, index: int = 0) -> Frame:
    """A soft picture inside the nominal range, such as a network may change a little."""
    rng = np.random.default_rng(seed)
    planes = empty_planes(lay)
    for plane in planes:
        rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
        wave = 0.5 + 0.2 * np.sin(rows / 7 + rng.random()) + 0.15 * np.cos(columns / 9 + rng.random())
        code = np.rint(wave * ((1 << lay.depth) - 1)).astype(np.int64) << lay.lsb
        plane[...] = code if plane.ndim == 2 else code[..., None]
    return Frame(tuple(planes), lay, 40 * index, Fraction(1, 1000), 40, index, side=("kept", index))
