"""What a run needs, small: photographs, a network, settings, and the parts put together."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vdeblur.data.feed import Feed, Share
from vdeblur.data.material import load_photographs
from vdeblur.data.samples import Samples, SynthesisedPairs
from vdeblur.data.synthesis import BlurSettings, held_out
from vdeblur.learn.events import Event
from vdeblur.learn.judge import judge_made, validation_pairs
from vdeblur.learn.settings import Settings
from vdeblur.learn.train import Outcome, train
from vdeblur.models.mimo_unet import MimoUNet

SMALL = Settings(
    steps=6,
    decay=4,
    warm_up=2,
    batch=2,
    crop=32,
    optimizer="muon",
    pool=8,
    reuse=2,
    log_every=2,
    save_every=3,
    validate_every=1000,
    motion=BlurSettings(size=48, longest_px=6),
)


def write_photographs(folder: Path) -> Path:
    """Three training pictures and one held out, 64x64."""
    rng = np.random.default_rng(0)
    names = (f"picture-{i}.png" for i in itertools.count())
    training_names = itertools.islice((n for n in names if not held_out(n)), 3)
    validation_names = itertools.islice((n for n in names if held_out(n)), 1)
    for name in [*training_names, *validation_names]:
        cells = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(cells, (64, 64), interpolation=cv2.INTER_NEAREST))
    return folder


def network(dropout: float = 0.0) -> MimoUNet:
    torch.manual_seed(1)
    return MimoUNet(8, 1, "half", dropout)


def run(
    photographs: Path,
    output: Path,
    start: torch.nn.Module | None = None,
    *,
    share: Share | None = None,
    judged: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    precision: str = "fp32",
    **changes: Any,
) -> Outcome:
    """A run on synthesised blur, with settings that differ from SMALL."""
    settings = replace(SMALL, **changes)
    share = share or Share(settings.batch, parts=settings.accumulate)
    source = SynthesisedPairs(load_photographs(photographs), settings.motion, settings.seed)
    samples = Samples(source, settings.pool_of_slot(), settings.augmentation, share.slots, settings.seed)
    held = load_photographs(photographs, validation=True)
    judge = judge_made(validation_pairs(held, settings.motion, 4)) if judged else None
    return train(
        start or network(),  # type: ignore[arg-type]
        settings,
        Feed(samples, share, torch.device("cpu"), settings.workers),
        judge,
        output,
        precision=precision,
        tell=tell,
        stop=stop,
    )
