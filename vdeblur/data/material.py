"""Sharp pictures to make blurred ones from: a folder of photographs, videos, or both; or drawings."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import numpy as np

from vdeblur.data.drawings import Picture, drawn_picture
from vdeblur.data.samples import read_picture
from vdeblur.data.synthesis import held_out
from vdeblur.errors import InputError

LONGEST_PX = 768  # larger pictures are kept as a part of this size
MOST_STILLS = 2000  # of a larger collection so many are taken: 3.5 GB
FEWEST = 4  # frames of a video
CANDIDATES = 3  # frames looked at for each that is kept: the sharpest
HELD_OUT = 10  # one picture in so many is never trained on, and of a video its last part of this size

Tell = Callable[[str, int, int | None], None]


def sharp_pictures(
    folder: Path, count: int, seed: int, tell: Tell = lambda name, done, expected: None
) -> tuple[list[Picture], list[Picture], list[str]]:
    """Pictures to train on, pictures held out, and what is wrong with files that were left out.

    They are of all picture and video files at or below a folder, but for hidden ones and what vdeblur has
    written beside others.

    Of videos the sharpest frames are taken, spread evenly, about `count` in all, `FEWEST` at least of each:
    of very many videos some are left out. The last tenth of each is held out. Of picture files `MOST_STILLS`
    at most are taken; whether one is held out depends on its name alone.

    Raises InputError where there is nothing, or not both.
    """
    from vdeblur.video.names import files_below, is_picture, is_result, is_video

    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder")
    inside = sorted(path for path in files_below(folder) if not is_result(path))
    files = [folder] if folder.is_file() else inside
    stills = _spread([path for path in files if is_picture(path)], MOST_STILLS)
    videos = _spread([path for path in files if is_video(path)], max(1, count // FEWEST))
    if not stills and not videos:
        raise InputError(f"{folder}: neither pictures nor videos in it")
    rng = np.random.default_rng(seed)
    training: list[Picture] = []
    validation: list[Picture] = []
    faults: list[str] = []
    for done, path in enumerate(stills):
        tell(path.name, done, len(stills))
        try:
            (validation if held_out(path.name) else training).append(_part(read_picture(path), rng))
        except InputError as error:
            faults.append(str(error))
    for path in videos:
        try:
            frames = _sharpest(path, max(FEWEST, count // len(videos)), rng, tell)
        except InputError as error:
            faults.append(str(error))
            continue
        keep = len(frames) - max(1, len(frames) // HELD_OUT)
        training += frames[:keep]
        validation += frames[keep:]
    if not validation and len(training) > 1:
        validation.append(training.pop())
    if faults and not training:
        raise InputError(faults[0])
    if not training or not validation:
        raise InputError(f"{folder}: one picture is too few, one more is needed to judge by")
    return training, validation, faults


def load_photographs(folder: Path, validation: bool = False) -> list[Picture]:
    """The training photographs of a folder in full size, or those held out, sorted by name.

    Raises InputError where there are none, or one does not open.
    """
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = [p for p in paths if held_out(p.name) == validation]
    if not chosen:
        kind = "validation" if validation else "training"
        raise InputError(f"{folder}: no photographs (.jpg, .png) for {kind} in it")
    return [read_picture(path) for path in chosen]


def drawings(count: int, size: int, seed: int) -> list[Picture]:
    """Drawn pictures of size x size pixels: material that needs no file."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return [drawn_picture(rng, size, size, palette) for _ in range(count)]


def _spread(paths: list[Path], most: int) -> list[Path]:
    """So many at most, evenly from all of them."""
    return [paths[len(paths) * i // most] for i in range(most)] if len(paths) > most else paths


def _sharpest(path: Path, count: int, rng: np.random.Generator, tell: Tell) -> list[Picture]:
    """`count` frames of a video in order of time, twice that at most, the one with the finest detail of each
    stretch.

    Headers may say too little, or nothing: whenever there are too many, stretches become twice as long.
    """
    from vdeblur.data.cadence import frames_expected
    from vdeblur.data.opening import whole_clip
    from vdeblur.video.picture_files import rgb_of
    from vdeblur.video.reader import Reader

    clip = whole_clip(path)
    expected = frames_expected(clip.picture)
    pace = max(1, expected // (count * CANDIDATES))
    found: list[tuple[float, Picture]] = []
    best: tuple[float, Picture] | None = None
    with Reader(clip, deinterlace=clip.picture.interlaced) as frames:
        for number, frame in enumerate(frames):
            if number % pace == 0 and not frame.side.is_corrupt:  # the torn have the finest detail
                picture = rgb_of(frame)
                detail = _detail(picture)
                if best is None or detail > best[0]:
                    best = detail, _part(picture, rng)
            if (number + 1) % (pace * CANDIDATES) == 0 and best is not None:
                found.append(best)
                best = None
            if len(found) == 2 * count:
                found = [max(pair, key=itemgetter(0)) for pair in zip(found[::2], found[1::2], strict=True)]
                pace *= 2
            if number % 50 == 0:
                tell(path.name, number, expected or None)
    if best is not None:
        found.append(best)
    return [picture for _, picture in found]


def _detail(picture: Picture) -> float:
    """Mean squared difference of neighbouring pixels of green: falls with every blur."""
    green = picture[::2, :, 1].astype(np.int32)
    return float(np.square(np.diff(green, axis=1)).mean())


def _part(picture: Picture, rng: np.random.Generator) -> Picture:
    """A random part of at most LONGEST_PX a side."""
    height, width = (min(LONGEST_PX, side) for side in picture.shape[:2])
    top = int(rng.integers(picture.shape[0] - height + 1))
    left = int(rng.integers(picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width].copy()
