"""Drawn pictures (dead leaves, text, lines, grids) and soft masks: sharp material that needs no photograph.

They keep a network from inventing texture where there is none, and cost next to nothing.
"""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import NDArray

from vdeblur.data.opencv import opencv

Picture = NDArray[np.uint8]
"""HxWx3, RGB, 0..255."""
Mask = NDArray[np.float32]
"""HxW, 0..1."""

_LETTERS = np.array(list(string.ascii_letters + string.digits + "     .,:-!?&"))


def drawn_picture(rng: np.random.Generator, height: int, width: int, palette: Picture) -> Picture:
    """A picture of random shapes, often with text or lines on it, in colours mostly taken from `palette`."""
    kind = rng.choice(["leaves", "plain", "grid"], p=[0.55, 0.3, 0.15])
    if kind == "leaves":
        picture = _dead_leaves(rng, height, width, palette)
    elif kind == "grid":
        picture = _grid(rng, height, width, palette)
    else:
        picture = _gradient(rng, height, width, palette)
        _draw_shapes(rng, picture, palette, int(rng.integers(2, 14)))
    if rng.random() < (0.35 if kind == "leaves" else 0.8):
        draw_text(rng, picture, palette, int(rng.integers(2, 16)))
    return picture


def draw_text(rng: np.random.Generator, picture: Picture, palette: Picture, lines: int) -> None:
    """Write random lines of text and thin strokes into `picture`, in place."""
    cv2 = opencv()
    height, width = picture.shape[:2]
    for _ in range(lines):
        at = (int(rng.integers(-width // 6, width)), int(rng.integers(0, height + 10)))
        ink = _colour(rng, palette)
        if rng.random() < 0.75:
            words = "".join(rng.choice(_LETTERS, int(rng.integers(3, 22))))
            font = int(rng.integers(0, 8))
            size = float(np.exp(rng.uniform(np.log(0.3), np.log(2.2))))
            cv2.putText(picture, words, at, font, size, ink, int(1 + 2.2 * size * rng.random()), cv2.LINE_AA)
        else:
            to = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            cv2.line(picture, at, to, ink, int(rng.integers(1, 5)), cv2.LINE_AA)


def soft_mask(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A random shape, 1 inside: an ellipse, a polygon or a cloud, with an edge of one to a few px."""
    cv2 = opencv()
    mask = np.zeros((height, width), np.float32)
    kind = rng.integers(0, 3)
    centre = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height])
    radius = float(np.exp(rng.uniform(np.log(0.05), np.log(0.45)))) * min(height, width)
    if kind == 0:
        axes = (max(2, int(radius * rng.uniform(0.4, 1.4))), max(2, int(radius * rng.uniform(0.4, 1.4))))
        cv2.ellipse(
            mask, centre.astype(int).tolist(), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA
        )
    elif kind == 1:
        corners = int(rng.integers(3, 11))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = radius * rng.uniform(0.3, 1.5, corners)
        points = centre + np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 1.0, cv2.LINE_AA)
    else:
        cells = int(rng.integers(3, 9))
        cloud = cv2.resize(
            rng.standard_normal((cells, cells)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        mask = np.clip((cloud - rng.uniform(0.0, 1.0)) * radius * 0.4, 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 2.0)))
    return mask


def _dead_leaves(rng: np.random.Generator, height: int, width: int, palette: Picture) -> Picture:
    picture = _gradient(rng, height, width, palette)
    _draw_shapes(rng, picture, palette, int(rng.integers(60, 320)))
    return picture


def _draw_shapes(rng: np.random.Generator, picture: Picture, palette: Picture, count: int) -> None:
    cv2 = opencv()
    height, width = picture.shape[:2]
    for _ in range(count):
        radius = min(2.0 / rng.random() ** 0.6, 0.3 * min(height, width))
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        ink = _colour(rng, palette)
        angle = float(rng.uniform(0, 180))
        if rng.random() < 0.5:
            axes = (max(1, int(radius * rng.uniform(0.3, 1.5))), max(1, int(radius * rng.uniform(0.3, 1.5))))
            cv2.ellipse(picture, centre, axes, angle, 0, 360, ink, -1, cv2.LINE_AA)
        else:
            sides = (float(radius * rng.uniform(0.3, 2.5)), float(radius * rng.uniform(0.3, 2.5)))
            box = cv2.boxPoints((centre, sides, angle)).astype(np.int32)
            cv2.fillPoly(picture, [box], ink, cv2.LINE_AA)


def _grid(rng: np.random.Generator, height: int, width: int, palette: Picture) -> Picture:
    period = int(rng.integers(4, 48))
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    sharpness = period * rng.uniform(0.2, 0.5)
    wave = np.sin(u * (2 * np.pi / period))
    if rng.random() < 0.6:
        wave = wave * np.sin(v * (2 * np.pi / period))
    share = np.clip(0.5 + wave * sharpness, 0, 1)[..., None]
    one, two = np.array(_colour(rng, palette)), np.array(_colour(rng, palette))
    return np.asarray(one * share + two * (1 - share), np.uint8)


def _gradient(rng: np.random.Generator, height: int, width: int, palette: Picture) -> Picture:
    cv2 = opencv()
    corners = np.array([_colour(rng, palette) for _ in range(4)], np.float32).reshape(2, 2, 3)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _colour(rng: np.random.Generator, palette: Picture) -> tuple[int, int, int]:
    if rng.random() < 0.25:
        red, green, blue = rng.integers(0, 256, 3)
    else:
        red, green, blue = palette[rng.integers(0, palette.shape[0]), rng.integers(0, palette.shape[1])]
    return int(red), int(green), int(blue)
