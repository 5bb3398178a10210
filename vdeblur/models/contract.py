"""What every network promises, so that the engine and the trainer need to know none of them by name.

Pictures are float tensors, RGB, NCHW, range [0, 1], height and width multiples of `multiple_of`. Results have
the same form, are not clamped, and may leave [0, 1]. A network holds no state between calls.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

Scales = tuple[Tensor, Tensor, Tensor]
"""Three pictures, full size first: the sizes of `DeblurNetwork.scales`."""


class DeblurNetwork(torch.nn.Module, ABC):
    """A network that turns a blurred picture into a sharp one.

    Attributes:
        family: the name of the architecture ("mimo-unet", "msresnet"); sizes are not part of it.
        multiple_of: height and width of an input must be multiples of this.
        reach: an output pixel depends on no input pixel further away than this, in px, on each side.
        half_is_safe: float16 throughout stays within 1 % of the output range (bfloat16 is not meant here).
    """

    family: str
    multiple_of: int
    reach: int
    half_is_safe: bool

    @abstractmethod
    def correction(self, rgb: Tensor) -> Tensor:
        """The full-size result minus the input, Nx3xHxW: what the engine adds to a picture, before any
        rounding.
        """

    @abstractmethod
    def scales(self, rgb: Tensor) -> Scales:
        """Results at the network's three sizes, full first, for training."""

    @abstractmethod
    def pyramid(self, rgb: Tensor) -> Scales:
        """The sharp picture at the sizes of `scales`, made the way this network's training wants its
        targets.
        """

    def forward(self, rgb: Tensor) -> Tensor:
        """The full-size result, Nx3xHxW, not clamped."""
        return rgb + self.correction(rgb)
