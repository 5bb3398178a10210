"""Small data sets on disk, made by the tests: pictures of 24x16 pixels with a number in their colour."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vdeblur.video.picture_files import write_png

SIZE = (16, 24)


def picture(path: Path, value: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """One picture; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, 3), value % 256, np.uint8)
    pixels[::2, ::3, 1] = (value * 7 + 60) % 256
    write_png(path, pixels)
    return path


def series(folder: Path, names: Iterable[str]) -> None:
    """Pictures of these names (without suffix) in one folder."""
    for value, name in enumerate(names):
        picture(folder / f"{name}.png", value)


def numbers(count: int, width: int = 8, first: int = 0) -> list[str]:
    return [f"{n:0{width}d}" for n in range(first, first + count)]


def reds(root: Path, splits: Iterable[str] = ("train", "val"), clips: int = 2, frames: int = 3) -> Path:
    """REDS with its compressed blur."""
    for split in splits:
        for kind in ("blur", "blur_comp", "sharp"):
            for clip in range(clips):
                series(root / split / f"{split}_{kind}" / f"{clip:03d}", numbers(frames))
    return root


def gopro(root: Path) -> Path:
    """GOPRO_Large: two blurs for each clip, numbers that do not start at 0."""
    for split, clip in (("train", "GOPR0372_07_00"), ("test", "GOPR0384_11_00")):
        for kind in ("blur", "blur_gamma", "sharp"):
            series(root / split / clip / kind, numbers(3, 6, 47))
    return root
