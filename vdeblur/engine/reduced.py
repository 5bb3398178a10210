"""A frame corrected through a smaller picture of itself: cheaper, and never smaller or softer than it was.

The network sees the picture scaled down; only its difference is scaled up and added to the full planes,
rounded once. A difference of zero gives bit-identical planes at every scale. numpy and OpenCV only.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vdeblur import colour
from vdeblur.colour import Codes
from vdeblur.engine.lane import component_of, with_components
from vdeblur.frame import Component, Fate, Frame, Plane, PlaneLayout

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer

Pixels = np.ndarray[Any, np.dtype[Any]]


def deblur_reduced(engine: Deblurrer, frame: Frame, scale: Fraction) -> Frame:
    """The frame with the difference that `engine` sees at `scale` (below 1) of its size, in new arrays; as it
    is where the guard refuses that.
    """
    small = reduced_rgb(frame, scale)
    found = engine.deblur_rgb_or_none(small)
    if found is None:
        return dataclasses.replace(frame, fate=Fate.REFUSED)
    return dataclasses.replace(frame, planes=add_enlarged(frame, found - small), fate=Fate.DEBLURRED)


def reduced_size(layout: PlaneLayout, scale: Fraction) -> tuple[int, int]:
    """(rows, columns) of the smaller picture."""
    return max(1, round(layout.height * scale)), max(1, round(layout.width * scale))


def reduced_rgb(frame: Frame, scale: Fraction) -> Pixels:
    """What the network sees: rows x columns x 3, float32, 0 to 1; each pixel the mean of those it covers."""
    layout, size = frame.layout, reduced_size(frame.layout, scale)
    words = [_resized(_component(frame.planes, c), size) for c in layout.components]
    values = [words[0]] * 3 if layout.kind == "gray" else words
    luma, chroma = (_shifted(codes, layout) for codes in _codes(layout))
    if layout.kind == "yuv":
        matrix = colour.yuv_to_rgb(layout.matrix) / [luma.unit, chroma.unit, chroma.unit]
        offset = -matrix @ [luma.zero, chroma.zero, chroma.zero]
    else:
        matrix = np.eye(3) / luma.unit
        offset = np.full(3, -luma.zero / luma.unit)
    rgb = cv2.transform(cv2.merge(values).astype(np.float32), np.column_stack([matrix, offset]))
    return np.clip(rgb, 0.0, 1.0, out=rgb)


def add_enlarged(frame: Frame, difference: Pixels) -> tuple[Plane, ...]:
    """The frame's planes plus a difference of RGB (rows x columns x 3, float32, any size), scaled to each.

    As `planes.add_difference` does it: the matrix without its offset, and no code is moved further out of
    the nominal range than it was. Alpha stays.
    """
    layout = frame.layout
    luma, chroma = _codes(layout)
    if layout.kind == "rgb":
        changes = cv2.split(difference * np.float32(luma.unit))
    else:
        units = np.array([[luma.unit], [chroma.unit], [chroma.unit]])
        changes = cv2.split(cv2.transform(difference, colour.MATRICES[layout.matrix] * units))
    result: list[Plane] = []
    for number, (component, change) in enumerate(zip(layout.components, changes, strict=False)):
        words = _component(frame.planes, component)
        codes = chroma if layout.kind == "yuv" and number else luma
        result.append(_added(words, _resized(change, words.shape[:2]), codes, layout))
    return with_components(frame, layout.components, result)


def _added(words: Plane, change: Pixels, codes: Codes, layout: PlaneLayout) -> Plane:
    """Words plus a change in codes; rounded half to even, clipped, bits below the sample kept."""
    if words.dtype == np.uint8:
        after = cv2.add(words, change, dtype=cv2.CV_8U)
        if (codes.low, codes.high) != (0, 255):
            after = np.maximum(after, np.minimum(words, np.uint8(codes.low)))
            after = np.minimum(after, np.maximum(words, np.uint8(codes.high)))
        return np.asarray(after)
    before = (words >> layout.lsb).astype(np.float32)
    after = np.rint(before + change).clip(np.minimum(before, codes.low), np.maximum(before, codes.high))
    below = words & np.uint16((1 << layout.lsb) - 1)
    return (after.astype(np.uint16) << layout.lsb) | below


def _codes(layout: PlaneLayout) -> tuple[Codes, Codes]:
    """Luma's (or that of R, G and B) and chroma's."""
    return colour.luma_codes(layout.depth, layout.range), colour.chroma_codes(layout.depth, layout.range)


def _shifted(codes: Codes, layout: PlaneLayout) -> Codes:
    """The same for words as they are stored."""
    return dataclasses.replace(
        codes, zero=codes.zero * (1 << layout.lsb), unit=codes.unit * (1 << layout.lsb)
    )


def _component(planes: tuple[Plane, ...], component: Component) -> Plane:
    found = component_of(planes, component)
    return found if component.index is None else np.ascontiguousarray(found)


def _resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """To (rows, columns): means over what is covered when it shrinks, between neighbours when it grows."""
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if size[0] * size[1] < picture.shape[0] * picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=how))
