"""Pairs to training samples: which crop of which pair belongs to which place of which step.

Everything here is a pure function of numbers: pair n of a source is always the same, and so is the sample of
a slot (a place in the whole batch, over all processes) at a step. That makes a resumed run equal to an
uninterrupted one, and two processes equal to one, without any state to save. What is kept in memory (some
decoded or synthesised pairs for each slot, each used several times) only saves work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vdeblur.data.drawings import Picture
from vdeblur.data.opencv import opencv
from vdeblur.data.synthesis import BlurSettings, Pair, make_pair, neutralised
from vdeblur.errors import InputError, MissingRuntimeError
from vdeblur.video import jpeg

Source = Callable[[int], Pair]
"""The n-th pair of an endless series."""
Values = NDArray[np.uint8] | NDArray[np.float32]
"""HxWx3: code values 0..255, or 0..1."""
_PAIR, _SHUFFLE, _CUT, _SAMPLE = range(1, 5)  # what a random stream is for; keeps streams of one seed apart
_YOUNG_PACE = 4  # samples for each new pair while a pool fills


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What happens to a crop.

    turns           "none", "mirror" (left and right, half of the time), or "all" eight turns and mirrorings
    swap_colours    a random order of R, G and B
    saturation      factor on the saturation (HSV) of both sides, from 1 - this to 1 + this
    noise_levels    Gaussian noise on the blurred side; its sigma is |N(0, 1)| times this, in 1/255
    """

    crop: int = 256
    turns: Literal["none", "mirror", "all"] = "all"
    swap_colours: bool = False
    saturation: float = 0.0
    noise_levels: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """How many pairs a slot holds, and how many samples each of them serves on average."""

    size: int = 1
    reuse: int = 1

    def window(self, step: int) -> tuple[int, int]:
        """The first and the last (exclusive) of a slot's own pairs that are held at a step.

        A young pool takes in a pair every few samples until it is full, then the oldest leaves for each new.
        """
        pace = min(_YOUNG_PACE, self.reuse)
        full = (self.size - 1) * pace
        newest = 1 + step // pace if step < full else self.size + (step - full) // self.reuse
        return max(0, newest - self.size), newest


class Samples:
    """Crops by (step, slot); each process or worker has one and asks it only for slots of its own."""

    def __init__(self, source: Source, pool: Pool, augmentation: Augmentation, slots: int, seed: int) -> None:
        self.source = source
        self.pool = pool
        self.augmentation = augmentation
        self.slots = slots
        self.seed = seed
        self._held: dict[int, dict[int, Pair]] = defaultdict(dict)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Values, Values]:
        """(blurred, sharp), crop x crop x 3: uint8, or float32 in [0, 1] where values were changed."""
        step, slot = place
        rng = np.random.default_rng([self.seed, _SAMPLE, step, slot])
        first, end = self.pool.window(step)
        own = self._held[slot]
        for old in [number for number in own if number < first]:
            del own[old]
        chosen = int(rng.integers(first, end))
        if chosen not in own:
            own[chosen] = self.source(chosen * self.slots + slot)
        return augmented(rng, own[chosen], self.augmentation)


class SynthesisedPairs:
    """Pairs made from sharp pictures: pair n is `make_pair` with a generator of (seed, n)."""

    def __init__(self, pictures: Sequence[Picture], motion: BlurSettings, seed: int) -> None:
        self.pictures = pictures
        self.motion = motion
        self.seed = seed

    def __call__(self, number: int) -> Pair:
        return make_pair(np.random.default_rng([self.seed, _PAIR, number]), self.pictures, self.motion)


class FilePairs:
    """Pairs from picture files in shuffled order, each once an epoch, cut to `cut` pixels a side at random.

    A cut larger than the crop gives several different crops for one decoding. `neutral` is the share of pairs
    whose sharp side takes over the very low frequencies of the blurred one, as in `BlurSettings`.
    """

    def __init__(
        self, files: Sequence[tuple[Path, Path]], cut: int, crop: int, seed: int, *, neutral: float = 0.0
    ) -> None:
        self.files = files
        self.cut = cut
        self.crop = crop
        self.seed = seed
        self.neutral = neutral
        self._epoch, self._order = -1, np.arange(0)

    def __call__(self, number: int) -> Pair:
        epoch, place = divmod(number, len(self.files))
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, _SHUFFLE, epoch]).permutation(len(self.files))
            self._epoch, self._order = epoch, order
        names = self.files[self._order[place]]
        pair = read_pair(*names)
        if min(pair.sharp.shape[:2]) < self.crop:
            size = "x".join(map(str, pair.sharp.shape[1::-1]))
            raise InputError(f"{names[0]}: {size} pixels, smaller than the crop of {self.crop}")
        rng = np.random.default_rng([self.seed, _CUT, number])
        height, width = (min(self.cut, side) for side in pair.sharp.shape[:2])
        top = int(rng.integers(pair.sharp.shape[0] - height + 1))
        left = int(rng.integers(pair.sharp.shape[1] - width + 1))
        part = np.s_[top : top + height, left : left + width]
        pair = Pair(pair.blurred[part].copy(), pair.sharp[part].copy())
        return neutralised(pair) if rng.random() < self.neutral else pair


def read_pair(blurred: Path, sharp: Path) -> Pair:
    """A pair from two picture files, 8 bit RGB.

    Raises InputError for what does not open or differs in size.
    """
    pair = Pair(read_picture(blurred), read_picture(sharp))
    if pair.blurred.shape != pair.sharp.shape:
        sizes = ["x".join(map(str, side.shape[1::-1])) for side in (pair.blurred, pair.sharp)]
        raise InputError(f"{blurred}: {sizes[0]} pixels, but {sharp} has {sizes[1]}")
    return pair


def read_picture(path: Path) -> Picture:
    """A picture file as HxWx3 uint8 RGB, by OpenCV, or by Pillow where that does not load.

    Pictures are never turned: orientation stays a tag, as in the engine. Raises InputError for what is no
    readable picture, or one that is cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: does not open ({error.strerror})") from error
    if jpeg.is_cut(data):
        raise InputError(f"{path}: the picture is cut off")
    try:
        cv2 = opencv()
    except MissingRuntimeError:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as file:
                return np.asarray(file.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"{path}: does not open as a picture") from error
    way = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), way) if data else None
    if picture is None:
        raise InputError(f"{path}: does not open as a picture")
    return np.ascontiguousarray(picture[..., ::-1])


def augmented(rng: np.random.Generator, pair: Pair, a: Augmentation) -> tuple[Values, Values]:
    """A random crop of a pair, changed as the settings say; both sides in the same way but for noise."""
    height, width = pair.sharp.shape[:2]
    top, left = int(rng.integers(height - a.crop + 1)), int(rng.integers(width - a.crop + 1))
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    colours = rng.permutation(3) if a.swap_colours else np.arange(3)

    def take(picture: Picture) -> Picture:
        part = picture[top : top + a.crop, left : left + a.crop]
        if a.turns == "all":
            part = np.rot90(part, turns)
        if mirrored and a.turns != "none":
            part = part[:, ::-1]
        return np.ascontiguousarray(part[..., colours])

    blurred, sharp = take(pair.blurred), take(pair.sharp)
    if not (a.saturation or a.noise_levels):
        return blurred, sharp
    factor = float(rng.uniform(1 - a.saturation, 1 + a.saturation))
    sigma = abs(float(rng.standard_normal())) * a.noise_levels / 255
    values = [saturated(side.astype(np.float32) / np.float32(255), factor) for side in (blurred, sharp)]
    noise = rng.standard_normal(values[0].shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(values[0] + noise, 0.0, 1.0), values[1]


def saturated(rgb: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """The saturation of HSV times a factor, at most 1; hue and value stay. HxWx3 in [0, 1]."""
    value = rgb.max(axis=2, keepdims=True)
    spread = value - rgb.min(axis=2, keepdims=True)
    # HSV: saturation is spread / value, and every channel is value - (its distance from value).
    most = np.divide(value, spread, out=np.ones_like(value), where=spread > 0)
    result: NDArray[np.float32] = value - (value - rgb) * np.minimum(np.float32(factor), most)
    return result
