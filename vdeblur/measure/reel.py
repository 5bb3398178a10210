"""Moving pictures to measure speed with: photographs side by side, blurred, panned, with a camera's noise.

Made from a seed, so that two machines measure the same work. Encoders and networks are slower and hotter on
such pictures than on flat ones, and no faster than on people's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vdeblur.frame import Component, Frame, PlaneLayout

PHOTOGRAPHS = ("astronaut", "coffee", "rocket")  # of scikit-image
RATE = 25
PAN_PX = (6, 2)  # each frame, right and down
BLUR_PX = 7  # about what such a pan leaves on a picture
NOISE = 1.5  # of 255, rms, on luma
ROOM_PX = 256
_FIELDS = 5  # noise pictures, used in turn

Plane16 = np.ndarray[Any, np.dtype[np.int16]]


def layout(width: int, height: int) -> PlaneLayout:
    """The commonest picture there is: 8 bit, 4:2:0, limited range, BT.709."""
    planes = (Component(0), Component(1), Component(2))
    return PlaneLayout("yuv420p", width, height, "yuv", 8, (2, 2), planes, "limited", "bt709")


def frames(width: int, height: int, count: int) -> Iterator[Frame]:
    """`count` frames of that size (even sides), planes in new arrays."""
    canvas = _canvas(width + ROOM_PX, height + ROOM_PX)
    rng = np.random.default_rng(0)
    noise = np.rint(rng.normal(0, NOISE, (_FIELDS, height, width))).astype(np.int16)
    own = layout(width, height)
    for index in range(count):
        left, top = (_there_and_back(index * step, ROOM_PX) for step in PAN_PX)
        luma = canvas[0][top : top + height, left : left + width] + noise[index % _FIELDS]
        rows, columns = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
        chroma = [plane[rows, columns].clip(16, 240).astype(np.uint8) for plane in canvas[1:]]
        planes = (luma.clip(16, 235).astype(np.uint8), *chroma)
        yield Frame(planes, own, index, Fraction(1, RATE), 1, index)


def write_clip(path: Path, width: int, height: int, count: int) -> Path:
    """The same frames as an H.264 file in MP4, of good quality."""
    import av

    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=RATE, options={"crf": "16", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.color_range, context.colorspace = 1, 1
        context.color_primaries, context.color_trc = 1, 1
        for frame in frames(width, height, count):
            output.mux(video.encode(picture(frame)))
        output.mux(video.encode(None))
    return path


def picture(frame: Frame) -> Any:
    """A frame as PyAV's own, for an encoder."""
    from vdeblur.video.encoding import picture_of

    made = picture_of(frame)
    made.pts, made.time_base = frame.pts, frame.time_base
    return made


def _canvas(width: int, height: int) -> list[Plane16]:
    """Y, Cb, Cr of photographs and their mirror images, blurred by a pan."""
    row = np.concatenate(_photographs(), axis=1)
    row = np.concatenate([row, row[:, ::-1]], axis=1)
    block = np.concatenate([row, row[::-1]], axis=0)
    across, down = -(-width // block.shape[1]), -(-height // block.shape[0])
    picture = np.tile(block, (down, across, 1))[: height // 2 * 2, : width // 2 * 2].astype(np.float32)
    rgb = np.mean([np.roll(picture, shift, axis=1) for shift in range(BLUR_PX)], axis=0) / np.float32(255)
    y = rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
    half = rgb.shape[0] // 2, 2, rgb.shape[1] // 2, 2
    blue, red = (((rgb[..., i] - y) / k).reshape(half).mean((1, 3)) for i, k in ((2, 1.8556), (0, 1.5748)))
    return [np.rint(part).astype(np.int16) for part in (16 + 219 * y, 128 + 224 * blue, 128 + 224 * red)]


def _photographs() -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """400 x 512 x 3 each; coloured squares where scikit-image is not installed."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        cells = np.random.default_rng(0).integers(30, 226, (25, 96, 3), np.uint8)
        return [np.kron(cells, np.ones((16, 16, 1), np.uint8))]
    return [np.asarray(getattr(data, name)(), np.uint8)[:400, :512] for name in PHOTOGRAPHS]


def _there_and_back(way: int, room: int) -> int:
    """An even offset that runs through the room and back."""
    at = way % (2 * room)
    return min(at, 2 * room - at) // 2 * 2
