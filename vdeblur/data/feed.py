"""Samples to batches on the device: made in this process, or by workers that are always a little ahead."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vdeblur.data.samples import Samples, Values
from vdeblur.errors import VdeblurError

Batch = tuple[Tensor, Tensor]
"""(blurred, sharp), Nx3xHxW float32 in [0, 1], channels last in memory."""
_AHEAD = 4  # batches that each worker prepares before they are asked for


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the whole batch this process feeds: `parts` pieces of `batch` slots, one after another.

    Piece `a` of process `rank` holds the slots from (a * ranks + rank) * batch.
    """

    batch: int
    rank: int = 0
    ranks: int = 1
    parts: int = 1

    @property
    def slots(self) -> int:
        """The size of the whole batch."""
        return self.batch * self.ranks * self.parts

    def pieces(self, first_step: int) -> Iterator[list[tuple[int, int]]]:
        """The places (step, slot) of every piece of this process, endlessly."""
        step = first_step
        while True:
            for part in range(self.parts):
                start = (part * self.ranks + self.rank) * self.batch
                yield [(step, slot) for slot in range(start, start + self.batch)]
            step += 1


@dataclass(frozen=True, slots=True)
class Feed:
    """Batches of samples; the same ones however many workers make them."""

    samples: Samples
    share: Share
    device: torch.device
    workers: int = 0

    def __call__(self, first_step: int) -> Iterator[Batch]:
        """Every piece of this process from a step on. Raises what reading a picture raises."""
        pieces = self.share.pieces(first_step)
        if self.workers == 0:
            for places in pieces:
                yield self._to_device([_join([self.samples[place] for place in places])])
        workers = min(self.workers, self.share.batch, os.cpu_count() or 1)
        loader: DataLoader[Any] = DataLoader(
            _Guarded(self.samples),
            batch_sampler=(part for places in pieces for part in _split(places, workers)),
            num_workers=workers,
            prefetch_factor=_AHEAD,
            pin_memory=self.device.type == "cuda",
            collate_fn=_collate,
            worker_init_fn=_start_worker,
        )
        parts: list[Batch] = []
        for part in loader:
            if isinstance(part, VdeblurError):
                raise part
            parts.append(part)
            if len(parts) == workers:
                yield self._to_device(parts)
                parts = []

    def _to_device(self, parts: list[Batch]) -> Batch:
        blurred, sharp = (
            torch.cat([_moved(part[side], self.device) for part in parts])
            if len(parts) > 1
            else _moved(parts[0][side], self.device)
            for side in (0, 1)
        )
        return blurred, sharp


_Part = tuple[Values, Values]


class _Guarded(Dataset[_Part | VdeblurError]):
    """What goes wrong in a worker comes out as it is, not wrapped in the worker's traceback."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, place: tuple[int, int]) -> _Part | VdeblurError:
        try:
            return self.samples[place]
        except VdeblurError as error:
            return error


def _split(places: list[tuple[int, int]], workers: int) -> list[list[tuple[int, int]]]:
    """Slots for each worker. The loader hands out lists in turns, so a worker always gets the same slots and
    finds their pairs in its memory."""
    ends = [len(places) * number // workers for number in range(workers + 1)]
    return [places[begin:end] for begin, end in pairwise(ends)]


def _collate(items: list[_Part | VdeblurError]) -> Batch | VdeblurError:
    samples = [item for item in items if not isinstance(item, VdeblurError)]
    if len(samples) < len(items):
        return next(item for item in items if isinstance(item, VdeblurError))
    return _join(samples)


def _join(samples: list[_Part]) -> Batch:
    blurred, sharp = (torch.from_numpy(np.stack([sample[side] for sample in samples])) for side in (0, 1))
    return blurred, sharp


def _moved(pictures: Tensor, device: torch.device) -> Tensor:
    """NxHxWx3 to Nx3xHxW float32 in [0, 1] on the device, without waiting for the copy."""
    there = pictures.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return there.float().div_(255) if there.dtype == torch.uint8 else there


def _start_worker(_number: int) -> None:
    # Ctrl-C and the terminal's end go to each of its processes; the one that trains ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
