"""From a gradient to new weights: optimizers, the rate's course, the averaged network, several processes."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vdeblur.learn.muon import Muon
from vdeblur.learn.settings import Settings
from vdeblur.models.contract import DeblurNetwork, Scales


def make_optimizers(network: DeblurNetwork, s: Settings) -> list[torch.optim.Optimizer]:
    """Adam for everything, or Muon for the inner convolutions and Adam for what touches pictures and for
    biases.
    """
    if s.optimizer == "adam":
        return [torch.optim.Adam(network.parameters(), s.rate, fused=True)]
    inner: list[Tensor] = []
    plain: list[Tensor] = []
    for weight in network.parameters():
        is_inner = weight.dim() == 4 and min(weight.shape[:2]) > 12
        (inner if is_inner else plain).append(weight)
    adam = torch.optim.Adam(plain, s.rate, fused=True)
    return [Muon(inner, s.rate), adam] if inner else [adam]  # a very narrow network has no inner ones


def rate_at(step: int, s: Settings) -> float:
    """The share of the full learning rate at a step.

    A run shorter than `decay` falls all along, and half of it at most is the rise.
    """
    rise = min(1.0, (step + 1) / max(1, min(s.warm_up, s.steps // 2)))
    if s.schedule == "steps":
        return rise * 0.5 ** sum(step >= milestone for milestone in s.milestones)
    left = (s.steps - step) / max(1, min(s.decay, s.steps))
    fall = 1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left)
    return rise * fall


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the averaged weights towards the present ones."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


def keep_at(step: int, s: Settings) -> float:
    """The share that the averaged network keeps of itself: less while the run is young, for a good start."""
    return min(s.ema, (1 + step) / (10 + step))


class Scaled(nn.Module):
    """The network's `scales` as the call of a module, which is what wrappers of training know."""

    def __init__(self, network: DeblurNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, rgb: Tensor) -> Scales:
        return self.network.scales(rgb)


def shared(module: nn.Module, device: torch.device) -> nn.Module:
    """The module as it is, or with gradients that are the mean over all processes."""
    if not dist.is_initialized():
        return module
    return DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)
