"""Networks of no learning for tests: their answer is known, so what the engine makes of it can be checked."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vdeblur.models.contract import DeblurNetwork, Scales


class StandIn(DeblurNetwork):
    """Shared part: one scale, nothing to train."""

    family = "stand-in"
    multiple_of = 4
    reach = 0
    half_is_safe = True

    def scales(self, rgb: Tensor) -> Scales:
        full = rgb + self.correction(rgb)
        return full, full[..., ::2, ::2], full[..., ::4, ::4]

    def pyramid(self, rgb: Tensor) -> Scales:
        return rgb, rgb[..., ::2, ::2], rgb[..., ::4, ::4]


class ZeroDifference(StandIn):
    """Says nothing: planes must come back bit-identical."""

    def correction(self, rgb: Tensor) -> Tensor:
        return torch.zeros_like(rgb)


class ConstantDifference(StandIn):
    """Adds the same amount to R, G and B everywhere."""

    def __init__(self, red: float, green: float, blue: float) -> None:
        super().__init__()
        self.amount = (red, green, blue)

    def correction(self, rgb: Tensor) -> Tensor:
        return rgb.new_tensor(self.amount).view(1, 3, 1, 1).expand_as(rgb).contiguous()


class Darker(StandIn):
    """A twentieth darker everywhere."""

    def correction(self, rgb: Tensor) -> Tensor:
        return rgb * -0.05


class BoxFilter(StandIn):
    """Blurs with a box of (2 * reach + 1) px, zero outside the picture: a reach that tiles must respect."""

    def __init__(self, reach: int = 4, multiple_of: int = 4) -> None:
        super().__init__()
        self.reach = reach
        self.multiple_of = multiple_of

    def correction(self, rgb: Tensor) -> Tensor:
        return F.avg_pool2d(rgb, 2 * self.reach + 1, stride=1, padding=self.reach) - rgb


class NotFinite(StandIn):
    """One NaN in the first pixel of every result."""

    def correction(self, rgb: Tensor) -> Tensor:
        result = torch.zeros_like(rgb)
        result[..., 0, 0] = float("nan")
        return result


class WildInLowPrecision(StandIn):
    """Infinite under autocast or in half precision, small and sound in float32."""

    def correction(self, rgb: Tensor) -> Tensor:
        low = rgb.dtype != torch.float32 or torch.is_autocast_enabled(rgb.device.type)
        return torch.full_like(rgb, float("inf") if low else 0.02)


class WildWhenDark(StandIn):
    """The same for dark pictures only; others get the small difference in every precision."""

    def correction(self, rgb: Tensor) -> Tensor:
        low = rgb.dtype != torch.float32 or torch.is_autocast_enabled(rgb.device.type)
        return torch.full_like(rgb, float("inf") if low and float(rgb.mean()) < 0.3 else 0.02)


class NonsenseWhenDark(StandIn):
    """Nonsense (the negative of the picture) for dark pictures, nothing for the others."""

    def correction(self, rgb: Tensor) -> Tensor:
        return 1.0 - 2.0 * rgb if float(rgb.mean()) < 0.25 else torch.zeros_like(rgb)


class Counting(ZeroDifference):
    """Counts its calls and keeps the sizes it has seen."""

    def __init__(self, multiple_of: int = 4) -> None:
        super().__init__()
        self.multiple_of = multiple_of
        self.sizes: list[tuple[int, int]] = []

    def correction(self, rgb: Tensor) -> Tensor:
        self.sizes.append((rgb.shape[-2], rgb.shape[-1]))
        return super().correction(rgb)
