"""Batches cut on the device from a pool of pairs that is made there and renewed all the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vdeblur.data.feed import Batch, Share
from vdeblur.data.samples import Augmentation
from vdeblur.data.synthesis_torch import DevicePairs

_PICK = 5  # what a random stream is for; see `data.samples`


@dataclass(frozen=True, slots=True)
class DeviceFeed:
    """Endless batches from a pool of `pool` pairs, each of which serves `reuse` crops on average.

    Which pairs the pool holds at a step, and which crops are taken, depend on (seed, step) alone, so a
    resumed run sees what the uninterrupted one would have seen; the pool is full from the first step.
    Several processes have pools of their own.
    """

    pairs: DevicePairs
    share: Share
    augmentation: Augmentation
    pool: int
    reuse: int
    seed: int

    def __call__(self, first_step: int) -> Iterator[Batch]:
        """Nx3xcropxcrop float32 in [0, 1], channels last, from a step on."""
        size, count = self.pairs.motion.size, self.pairs.count
        slots = max(1, self.pool // count)
        held = torch.empty(slots * count, 2, 3, size, size, dtype=torch.uint8, device=self.pairs.device)
        newest = 0
        step = first_step
        while True:
            for part in range(self.share.parts):
                needed = slots + self.fresh_by(step)
                for number in range(max(newest, needed - slots), needed):
                    at = number % slots * count
                    own = number * self.share.ranks + self.share.rank
                    held[at : at + count, 0], held[at : at + count, 1] = self.pairs(own)
                newest = needed
                place = [self.seed, _PICK, step, part * self.share.ranks + self.share.rank]
                yield cut(held, np.random.default_rng(place), self.share.batch, self.augmentation)
            step += 1

    def fresh_by(self, step: int) -> int:
        """Batches of pairs that have been renewed before a step."""
        return step * self.share.batch * self.share.parts // (self.reuse * self.pairs.count)


def cut(held: Tensor, rng: np.random.Generator, count: int, a: Augmentation) -> Batch:
    """Random crops of random pairs (Nx2x3xSxS uint8), turned, mirrored and with colours swapped."""
    size, device = held.shape[-1], held.device
    pair = rng.integers(len(held), size=count)
    top, left = rng.integers(size - a.crop + 1, size=(2, count))
    mirror, upside, transpose = (rng.random((3, count)) < 0.5) & np.array(
        [[a.turns != "none"], [a.turns == "all"], [a.turns == "all"]]
    )
    colours = (
        np.argsort(rng.random((count, 3)), axis=1) if a.swap_colours else np.tile(np.arange(3), (count, 1))
    )
    small = np.concatenate([np.stack([pair, top, left, mirror, upside, transpose], 1), colours], axis=1)
    values = torch.as_tensor(small.astype(np.int64)).to(device, non_blocking=True)
    pair_, top_, left_, mirror_, upside_, transpose_ = (values[:, i].view(-1, 1, 1) for i in range(6))
    at = torch.arange(a.crop, device=device)
    i, j = at[None, :, None], at[None, None, :]
    row = torch.where(transpose_ > 0, j, i)
    column = torch.where(transpose_ > 0, i, j)
    row = top_ + torch.where(upside_ > 0, a.crop - 1 - row, row)
    column = left_ + torch.where(mirror_ > 0, a.crop - 1 - column, column)
    channel = values[:, 6:].view(-1, 1, 1, 3)
    blurred, sharp = (
        # Channels are indexed last: the result lies as channels_last wants it.
        held[pair_[..., None], side, channel, row[..., None], column[..., None]]
        .permute(0, 3, 1, 2)
        .float()
        .div_(255)
        for side in (0, 1)
    )
    return blurred, sharp
