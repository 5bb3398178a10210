"""A shaken clip made on the spot, deblurred by the production path and measured: `vdeblur demo`.

The pictures come with scikit-image, the shake is a sway with a tremor, each frame is the mean in
linear light of its sub-frames, and the sharp frame in the middle of the exposure is kept for the score.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vdeblur import metrics
from vdeblur.engine.device import guess_kind
from vdeblur.errors import InputError
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, check_options, make_plan
from vdeblur.video.picture_files import write_png
from vdeblur.video.sink import hidden_beside
from vdeblur.weights import store

SCENES = ("astronaut", "coffee", "rocket", "chelsea")  # chelsea is soft: there is little to win there
SIZE = (256, 384)  # height, width: fits into every scene with room for the shake
RATE = 24
LONGEST_S = 60  # the frames of a clip are kept in memory
SUB_FRAMES = 17
EXPOSURE = 0.7  # of the time between two frames
SWAY_PX = 45.0  # at about one sway a second: 5 to 10 px of blur
GAMMA = 2.2
SAMPLE_RATE = 48_000

Picture = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Demo:
    """Where everything is, and the scores: RGB, 8 bit, data range 255, mean over the frames."""

    sharp: Path
    shaken: Path
    result: Path
    picture: Path
    frames: int
    model: str
    psnr_db: tuple[float, float]
    scenes_db: tuple[tuple[str, float, float], ...]
    ssim: tuple[float, float]
    true_fps: float

    def describe(self) -> list[tuple[str, str]]:
        """In words, for the terminal."""
        return [
            ("sharp original", str(self.sharp)),
            ("shaken clip", f"{self.shaken} ({self.frames} frames with sound)"),
            ("result", f"{self.result} ({self.model})"),
            ("before/after", f"{self.picture} (the frame that gained most)"),
            (
                "PSNR",
                f"{self.psnr_db[0]:.2f} dB before, {self.psnr_db[1]:.2f} dB after (RGB, 8 bit, range 255)",
            ),
            *(("by scene", f"{name}: {b:.2f} dB before, {a:.2f} dB after") for name, b, a in self.scenes_db),
            (
                "SSIM",
                f"{self.ssim[0]:.4f} before, {self.ssim[1]:.4f} after (11x11 Gaussian window, sigma 1.5)",
            ),
            ("speed", f"{self.true_fps:.2f} frames/s from file to file, opening and closing included"),
        ]


def demo(folder: Path, *, seconds: float = 3.0, **network: Any) -> Demo:
    """Make, deblur and measure; `network` are the network options of `jobs.plan.Options`.

    Raises InputError, before anything is written, for a length or network that cannot be had, and for files
    of these names that are there already.
    """
    options = Options(**network)
    names = ("sharp.mp4", "shaken.mp4", "shaken.deblurred.mp4", "before_after.png")
    sharp, shaken, deblurred, picture = (folder / name for name in names)
    _check(seconds, folder, (sharp, shaken, deblurred, picture), options)
    _make(folder)
    count = max(2, round(seconds * RATE))
    pairs = list(shaken_frames(count))
    write_clip(sharp, [pair[1] for pair in pairs])
    write_clip(shaken, [pair[0] for pair in pairs])
    plan = make_plan(str(shaken), deblurred, options)
    result = deblur.run(plan)

    before, after = list(_decoded(shaken)), list(_decoded(result.target))
    truth = [pair[1] for pair in pairs]
    scores = [
        [metrics.psnr(b, s, data_range=255) for b, s in zip(x, truth, strict=True)] for x in (before, after)
    ]
    likeness = [
        [metrics.ssim(b, s, data_range=255) for b, s in zip(x, truth, strict=True)] for x in (before, after)
    ]
    each = -(-count // len(SCENES))
    parts = [(name, slice(i * each, (i + 1) * each)) for i, name in enumerate(SCENES) if i * each < count]
    best = int(np.argmax(np.subtract(scores[1], scores[0])))
    write_png(picture, np.concatenate((before[best], after[best]), axis=1))
    return Demo(
        sharp=sharp,
        shaken=shaken,
        result=result.target,
        picture=picture,
        frames=count,
        model=plan.weights.name if plan.weights else "no network",
        psnr_db=(float(np.mean(scores[0])), float(np.mean(scores[1]))),
        scenes_db=tuple(
            (name, float(np.mean(scores[0][part])), float(np.mean(scores[1][part]))) for name, part in parts
        ),
        ssim=(float(np.mean(likeness[0])), float(np.mean(likeness[1]))),
        true_fps=result.ledger.true_fps,
    )


def shaken_frames(count: int) -> Iterator[tuple[Picture, Picture]]:
    """(blurred, sharp) uint8 HxWx3 pictures: the scenes one after the other under one shaking camera."""
    rng = np.random.default_rng(7)  # the same shake each time
    path = _shake(count * SUB_FRAMES, rng)
    each = -(-count // len(SCENES))
    for index in range(count):
        if index % each == 0:
            scene = _linear(SCENES[index // each])
            room = np.subtract(scene.shape[:2], SIZE) - 2
            reach = np.minimum(1.0, room / 2 / np.abs(path).max(axis=0))
        steps = path[index * SUB_FRAMES : (index + 1) * SUB_FRAMES]
        middle = steps[SUB_FRAMES // 2]
        exposed = middle + (steps - middle) * EXPOSURE
        views = [_view(scene, room / 2 + at * reach) for at in exposed]
        yield _coded(np.mean(views, axis=0)), _coded(views[SUB_FRAMES // 2])


def write_clip(path: Path, frames: list[Picture]) -> None:
    """H.264 at high quality with a spoken-range tone (AAC), so that there is sound to keep; renamed when
    whole."""
    hidden = hidden_beside(path)
    try:
        _write_clip(hidden, frames)
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def _check(seconds: float, folder: Path, targets: tuple[Path, ...], options: Options) -> None:
    if not 0 < seconds <= LONGEST_S:
        raise InputError(f"--seconds {seconds:g}: give a length above 0 and at most {LONGEST_S}")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the demo")
    for target in targets:
        if target.exists():
            raise InputError(f"{target}: exists already; move it away or name another folder")
    check_options(options)
    store.resolve(options.model, options.weights, guess_kind(options.device))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written there; name another folder")


def _write_clip(path: Path, frames: list[Picture]) -> None:
    with av.open(str(path), "w", format="mp4", container_options={"movflags": "faststart"}) as output:
        video = output.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        video.height, video.width = SIZE
        video.pix_fmt = "yuv420p"
        sound = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for picture in frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
        length = len(frames) * SAMPLE_RATE // RATE
        for start in range(0, length, 1024):
            t = np.arange(start, min(start + 1024, length)) / SAMPLE_RATE
            wave = 0.2 * np.sin(2 * np.pi * (220 + 20 * np.sin(2 * np.pi * 0.5 * t)) * t)
            block = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            output.mux(sound.encode(block))
        output.mux(sound.encode(None))


def _decoded(path: Path) -> Iterator[Picture]:
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _shake(steps: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Camera positions in px: a sway that never rests, with a hand's tremor on it."""
    t = np.arange(steps) / SUB_FRAMES / RATE
    turns = np.outer(t, 2 * np.pi * np.array([0.9, 1.3])) + rng.uniform(0, 2 * np.pi, 2)
    tremor = np.cumsum(rng.normal(0, 0.15, (steps, 2)), axis=0)
    slow = np.cumsum(tremor - tremor.mean(axis=0), axis=0) / steps
    return np.asarray(SWAY_PX * np.sin(turns) + tremor - slow)


def _linear(scene: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A picture of scikit-image in linear light, float32 HxWx3, range [0, 1]."""
    from skimage import data

    coded = np.asarray(getattr(data, scene)(), np.float32) / 255
    return np.power(coded, GAMMA, dtype=np.float32)


def _view(scene: np.ndarray[Any, Any], corner: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The window of SIZE whose top left corner stands at a fractional position: bilinear."""
    (top, left), (height, width) = np.floor(corner).astype(int), SIZE
    y, x = np.asarray(corner - (top, left), np.float32)
    part = scene[top : top + height + 1, left : left + width + 1]
    rows = part[:-1] * (1 - y) + part[1:] * y
    return np.asarray(rows[:, :-1] * (1 - x) + rows[:, 1:] * x)


def _coded(linear: np.ndarray[Any, Any]) -> Picture:
    return np.asarray(np.rint(np.power(linear, 1 / GAMMA) * 255), np.uint8)
