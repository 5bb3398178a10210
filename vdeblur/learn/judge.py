"""How good a network is while it learns: gain over the blurred input, through the production engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdeblur.data.drawings import Picture
from vdeblur.data.samples import read_pair
from vdeblur.data.synthesis import BlurSettings, Pair, make_pair
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.metrics import psnr
from vdeblur.models.contract import DeblurNetwork

LEAST_BLUR = 1.0  # root mean square difference in 1/255 below which a pair has nothing to gain
MOST_DB = 100.0  # what an equal picture counts as; a refused result as a gain of minus this


@dataclass(frozen=True, slots=True)
class Score:
    """Over pairs that are blurred by more than a level: mean and worst gain in PSNR (RGB in [0, 1], not
    rounded), and the mean shift in brightness between input and result, in 1/255.

    A result that the guard refuses counts as -MOST_DB: a network must not win by nonsense that is not used.
    """

    gain_db: float
    worst_db: float
    shift: float
    pairs: int
    refused: int = 0


Judge = Callable[[DeblurNetwork], Score]

_CHOOSING = {"source", "data", "blur", "validation", "validate_pictures", "frames", "seed"}


def others_judge(changed: Iterable[str]) -> bool:
    """Whether settings of these names make other held-out pairs: scores by those do not compare."""
    return any(key in _CHOOSING or key.startswith("blur_") for key in changed)


def score(network: DeblurNetwork, pairs: Iterator[Pair], device: str = "cpu") -> Score:
    """Deblur each pair's blurred side, in float32, and compare. The network is left as it is."""
    gains: list[float] = []
    shifts: list[float] = []
    with Deblurrer(copy.deepcopy(network), device=device, precision="fp32", backend="torch") as engine:
        for pair in pairs:
            blurred, sharp = (
                side.astype(np.float32) / np.float32(255) for side in (pair.blurred, pair.sharp)
            )
            if np.square(blurred - sharp).mean(dtype=np.float64) < (LEAST_BLUR / 255) ** 2:
                continue
            found = engine.deblur_rgb_or_none(blurred)
            if found is None:
                gains.append(-MOST_DB)
                continue
            result = found.clip(0.0, 1.0)
            gains.append(min(MOST_DB, psnr(result, sharp, 1)) - psnr(blurred, sharp, 1))
            shifts.append(255 * float((result - blurred).mean(dtype=np.float64)))
    if not gains:
        return Score(0.0, 0.0, 0.0, 0)
    refused = len(gains) - len(shifts)
    shift = sum(shifts) / len(shifts) if shifts else 0.0
    return Score(sum(gains) / len(gains), min(gains), shift, len(gains), refused)


def validation_pairs(
    pictures: Sequence[Picture], motion: BlurSettings, count: int = 64, seed: int = 20_261_121
) -> list[Pair]:
    """The same pairs for every run with these settings of blur, made from pictures training never sees."""
    rng = np.random.default_rng(seed)
    return [make_pair(rng, pictures, motion) for _ in range(count)]


def judge_made(pairs: Sequence[Pair], device: str = "cpu") -> Judge:
    """A judge by pairs in memory."""
    return lambda network: score(network, iter(pairs), device)


def judge_files(files: Sequence[tuple[Path, Path]], count: int, device: str = "cpu") -> Judge:
    """A judge by at most `count` pairs of picture files, evenly spread over the list, read each time anew."""
    chosen = [files[len(files) * i // count] for i in range(count)] if len(files) > count else list(files)
    return lambda network: score(network, (read_pair(*pair) for pair in chosen), device)
