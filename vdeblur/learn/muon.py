"""Muon (Jordan et al., 2024): momentum whose update is made nearly orthogonal, for convolution weights.

The update of each weight, seen as an output x (input x kernel) matrix, is brought to singular values near 1
by five Newton-Schulz steps and scaled to the size of Adam's (0.2 sqrt of the longer side), so one learning
rate serves both. What is not a 4-axis weight (biases) and what is named in `plain` goes through Adam.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """Muon for the given 4-axis weights.

    Args:
        weights: convolution weights, out x in x k x k.
        lr: learning rate, as for Adam.
        momentum: share of the old direction kept (Nesterov form).
    """

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state: dict[str, Any] = self.state[weight]
                if not state:
                    state["direction"] = torch.zeros_like(weight)
                direction = state["direction"]
                direction.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(direction, group["momentum"]).flatten(1)
                by_shape[(update.shape[0], update.shape[1])].append((weight, update))
            for shape, entries in by_shape.items():
                updates = orthogonal(torch.stack([update for _, update in entries]))
                scale = 0.2 * max(shape) ** 0.5
                for (weight, _), update in zip(entries, updates, strict=True):
                    weight.add_(update.view(weight.shape), alpha=-group["lr"] * scale)
        return loss


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a batch of matrices near 1 (0.7 to 1.2), N x rows x columns, float32."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
    for _ in range(steps):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * (gram @ gram)) @ x
    result: Tensor = x.mT if tall else x
    return result
