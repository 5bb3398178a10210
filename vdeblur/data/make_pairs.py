"""Pairs in REDS' layout from a user's own sharp footage: videos blurred in time, pictures by a shaken camera.

The tree appears under its name only when it is whole, with `pairs.json` beside the pictures: every source,
parameter and seed.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdeblur import __version__
from vdeblur.data.cadence import frames_expected, usual_step_s, with_gaps
from vdeblur.data.drawings import Picture
from vdeblur.data.exposures import exposures, stride_of
from vdeblur.data.opening import whole_clip
from vdeblur.data.sensor import make_response
from vdeblur.data.synthesis import shake
from vdeblur.errors import InputError, VdeblurError
from vdeblur.video.clip import Clip
from vdeblur.video.names import is_picture, is_result, is_video
from vdeblur.video.picture_files import rgb_of, write_png
from vdeblur.video.pictures import probe_pictures, read_pictures
from vdeblur.video.reader import Reader

MANIFEST = "pairs.json"


@dataclass(frozen=True, slots=True)
class Making:
    """How pairs are made.

    exposure_s   how long the shutter is open
    gamma        of the camera's response: light = code ** gamma
    shortest_px, longest_px   the camera's path over a still picture, drawn log-uniformly
    split        train, val or test: the folder's name in REDS' layout
    """

    exposure_s: float = 1 / 25
    gamma: float = 2.2
    shortest_px: float = 2.0
    longest_px: float = 30.0
    split: str = "train"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Made:
    """What has been written."""

    root: Path
    clips: int
    pairs: int
    notes: tuple[str, ...]


def make_pairs(
    sources: Sequence[Path],
    root: Path,
    making: Making | None = None,
    tell: Callable[[str, int, int | None], None] = lambda clip, done, of: None,
) -> Made:
    """Write `root`/<split>/<split>_{blur,sharp}/<clip>/00000000.png from videos, pictures, or folders of
    them.

    A video is a clip for each of its shots, a still picture a clip of one pair.

    Raises:
        InputError: a source that is not there or not whole, a target that exists, nothing to make.
        VdeblurError: the disk is full.
    """
    m = making or Making()
    if not 0 < m.exposure_s <= 1:
        raise InputError(f"--exposure {m.exposure_s:g}: give seconds, above 0 and at most 1")
    if not 0.5 <= m.gamma <= 4:
        raise InputError(
            f"--gamma {m.gamma:g}: must lie between 0.5 and 4; 2.2 suits most video, 1 is linear"
        )
    # An empty folder is replaced, but not the one that the caller stands in.
    if root.exists() and (not root.is_dir() or any(root.iterdir()) or root.samefile(Path.cwd())):
        raise InputError(f"{root}: exists already; name a new folder for the pairs")
    if not 0.5 <= m.shortest_px <= m.longest_px <= 200:
        raise InputError(f"--path {m.shortest_px:g} {m.longest_px:g}: give two lengths, 0.5 to 200 pixels")
    if m.seed < 0:
        raise InputError(f"--seed {m.seed}: must not be negative")
    found = list(_footage(sources))
    unfinished = root.with_name(f".{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        tree = _Tree(unfinished, m.split)
        for number, path in enumerate(found):
            name = tree.free_name(path.stem)
            written = _still(tree, path, name, number, m) if is_picture(path) else _video(tree, path, name, m)
            for count, expected in written:
                tell(path.name, count, expected)
        if not tree.rows:
            raise InputError(f"{', '.join(map(str, sources))}: too short, not one exposure came of it")
        settings = {"vdeblur": __version__, "sources": [str(path) for path in found], **asdict(m)}
        text = json.dumps({**settings, "notes": tree.notes, "pairs": tree.rows}, indent=1)
        (unfinished / MANIFEST).write_text(text + "\n", encoding="utf-8")
        if root.is_dir():
            root.rmdir()
        unfinished.replace(root)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise VdeblurError(f"{root}: disk full; nothing of it was kept") from error
        raise InputError(f"{root}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    clips = {row["clip"] for row in tree.rows}
    return Made(root, len(clips), len(tree.rows), tuple(tree.notes))


class _Tree:
    """The folders under their passing name, and a row of the manifest for each pair in them."""

    def __init__(self, root: Path, split: str) -> None:
        self._sides = [root / split / f"{split}_{side}" for side in ("blur", "sharp")]
        self._names: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []
        for side in self._sides:
            side.mkdir(parents=True)

    def free_name(self, stem: str) -> str:
        name, count = stem, 1
        while name.casefold() in self._names:  # where case does not count, they would be one folder
            count += 1
            name = f"{stem}-{count}"
        self._names.add(name.casefold())
        return name

    def add(self, clip: str, index: int, blurred: Picture, sharp: Picture, **facts: Any) -> None:
        for side, picture in zip(self._sides, (blurred, sharp), strict=True):
            folder = side / clip
            folder.mkdir(exist_ok=True)
            write_png(folder / f"{index:08d}.png", picture)
        self.rows.append({"clip": clip, "frame": index, **facts})


def _footage(sources: Sequence[Path]) -> Iterator[Path]:
    """Videos and pictures; those of a folder in order of their names."""
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        if source.is_file():
            if not (is_picture(source) or is_video(source)):
                raise InputError(f"{source}: neither a video nor a picture")
            yield source
            continue
        listed = sorted(path for path in source.iterdir() if is_picture(path) or is_video(path))
        inside = [path for path in listed if not is_result(path)]  # deblurred by us is not sharp
        if not inside:
            raise InputError(f"{source}: neither videos nor pictures in it")
        yield from inside


def _video(tree: _Tree, path: Path, name: str, m: Making) -> Iterator[tuple[int, int | None]]:
    """Yields how many pairs there are, and about how many there will be."""
    clip = whole_clip(path)
    step_s = usual_step_s(clip)
    if step_s is None:
        raise InputError(f"{path}: says nothing of its frame rate; write it anew with one")
    frames_open = m.exposure_s / step_s
    response = make_response(m.gamma, 0.0)
    expected = frames_expected(clip.picture) // stride_of(frames_open)
    pictures = _Pictures(clip, step_s)
    interpolated = count = index = 0
    shot = -1
    for made in exposures(iter(pictures), frames_open, response):
        if made.shot != shot:
            shot, index = made.shot, 0
            clip_name = name if shot == 0 else tree.free_name(f"{name}-shot{shot + 1}")
        tree.add(
            clip_name,
            index,
            made.blurred,
            made.sharp,
            source=path.name,
            middle=made.middle,
            sub_frames=made.sub_frames,
            steps_between_frames=made.between,
        )
        index += 1
        count += 1
        interpolated += made.between > 1
        yield count, max(count, expected) if expected else None
    if interpolated:
        tree.notes.append(
            f"{path.name}: {interpolated} of {count} exposures needed frames between its own "
            f"({1 / step_s:.4g} a second); interpolated motion is a guess, faster video is better"
        )
    if pictures.gaps:
        tree.notes.append(
            f"{path.name}: its frames are not evenly spaced; exposures were made where they come at "
            f"{1 / step_s:.4g} a second, none over other steps, of which there are {pictures.gaps}"
        )
    if clip.picture.interlaced:
        tree.notes.append(f"{path.name}: interlaced; made progressive first")
    if pictures.damaged:
        tree.notes.append(
            f"{path.name}: pictures that are damaged or do not decode: {pictures.damaged}; none is in an "
            "exposure, but those that follow may show it too"
        )


class _Pictures:
    """Those of a video, progressive; None for a gap in time, and around a damaged one. Counts both."""

    def __init__(self, clip: Clip, step_s: float) -> None:
        self.gaps = self.damaged = 0
        self._clip, self._step_s = clip, step_s

    def __iter__(self) -> Iterator[Picture | None]:
        with Reader(self._clip, deinterlace=self._clip.picture.interlaced) as frames:
            for frame in with_gaps(frames, self._step_s):
                self.gaps += frame is None
                picture = None if frame is None else rgb_of(frame)
                torn = frame is not None and frame.side.is_corrupt  # alone between gaps: in no exposure
                yield from (None, picture, None) if torn else (picture,)
            self.damaged = frames.corrupt_frames + frames.failed_packets


def _still(tree: _Tree, path: Path, name: str, number: int, m: Making) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng([m.seed, number])
    length_px = float(np.exp(rng.uniform(np.log(m.shortest_px), np.log(m.longest_px))))
    picture = rgb_of(next(read_pictures(probe_pictures(str(path)))))
    try:
        pair = shake(rng, picture, length_px, make_response(m.gamma, 0.0))
    except InputError as error:
        tree.notes.append(f"{path.name}: left out, {error}")
        return
    tree.add(
        name,
        0,
        pair.blurred,
        pair.sharp,
        source=path.name,
        path_px=round(length_px, 3),
        seed=[m.seed, number],
    )
    yield 1, 1
