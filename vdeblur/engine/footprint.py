"""How much memory a network in torch needs, counted on a small picture."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vdeblur.models.contract import DeblurNetwork

SIDE_PX = 64


def bytes_per_px(network: DeblurNetwork, device: torch.device) -> float:
    """Peak of the network's float32 tensors for each pixel of its input, measured on a small picture."""
    side = -(-SIDE_PX // network.multiple_of) * network.multiple_of
    picture = torch.full((1, 3, side, side), 0.5, device=device)
    watch = _Watch()
    with torch.inference_mode(), watch:
        network.correction(picture)
    return watch.peak / (side * side)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors made inside that are alive, and keeps the peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, two seconds for nothing

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        self.peak = max(self.peak, self._now)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self._now += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size
