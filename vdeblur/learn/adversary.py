"""The discriminator of DeepDeblur (Nah et al., CVPR 2017) and its part in a step: optional, off by default.

Written from the description of the architecture; keys are those of the published files below "D". It judges
the full-size result in float32, whatever precision the network runs in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdeblur.learn.optimise import shared

_WIDTHS = (32, 32, 64, 64, 128, 128, 256, 256, 512)
_STRIDES = (1, 2, 1, 2, 1, 4, 1, 4, 1)


class Discriminator(nn.Module):
    """Logits for "this picture is sharp": Nx3xHxW in [0, 1] to Nx1xH/256xW/256, sides multiples of 64.

    Nine 5x5 convolutions and a 4x4 one of stride 4, each with LeakyReLU 0.2 behind it, then 1x1; no biases.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width, stride in zip(_WIDTHS, _STRIDES, strict=True):
            layers.append(nn.Conv2d(before, width, 5, stride, 2, bias=False))
            before = width
        layers.append(nn.Conv2d(before, before, 4, 4, bias=False))
        self.conv_layers = nn.ModuleList(layers)
        self.dense = nn.Conv2d(before, 1, 1, bias=False)

    def forward(self, rgb: Tensor) -> Tensor:
        x = rgb * 255 - 127.5
        for layer in self.conv_layers:
            x = F.leaky_relu(layer(x), 0.2, inplace=True)
        logits: Tensor = self.dense(x)
        return logits


class Adversary:
    """A discriminator that learns beside the network, once in each piece of a step."""

    def __init__(self, rate: float, device: torch.device) -> None:
        self.network = Discriminator().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), rate)
        self._shared = shared(self.network, device)

    def loss(self, result: Tensor, sharp: Tensor) -> Tensor:
        """Learn to tell the two apart, then say how far the result is from passing as sharp.

        Binary cross-entropy with logits; its gradient reaches the result, not the discriminator.
        """
        logits = self._shared(torch.cat([result.detach().float(), sharp]))
        fake, real = logits.chunk(2)
        apart = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        apart = apart + F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        self.optimizer.zero_grad()
        apart.backward()  # type: ignore[no-untyped-call]
        if all(torch.isfinite(w.grad).all() for w in self.network.parameters() if w.grad is not None):
            self.optimizer.step()
        self.network.requires_grad_(False)
        verdict = self.network(result.float())
        self.network.requires_grad_(True)
        return F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
