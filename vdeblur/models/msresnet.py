"""MSResNet, the multi-scale network of DeepDeblur (Nah et al., CVPR 2017), coarse to fine.

Written from the description of the architecture. Module names follow the published weight files below their
"G" level. Inside, values run from -127.5 to 127.5; the contract's [0, 1] is kept at the border. The picture
is predicted directly, there is no residual to the input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdeblur.models.contract import DeblurNetwork, Scales

_RANGE = 255.0
_HALF_FILTER = (0.000011984, 0.003334841, 0.100430979, 0.396222195)
"""Gaussian sigma 2/3 followed by 2x2 averaging, one side of the symmetric 8 taps (scikit-image
`pyramid_gaussian`).
"""


class MSResNet(DeblurNetwork):
    """Residual networks with 5x5 kernels, one per scale; each hands its enlarged result to the next finer
    one.

    Args:
        features: width of every layer (published: 64).
        blocks: residual blocks per scale (published: 19).
        scales: number of scales (published: 3; the contract's three results need at least 3).
    """

    family = "msresnet"
    half_is_safe = True

    def __init__(self, features: int = 64, blocks: int = 19, scales: int = 3) -> None:
        super().__init__()
        if scales < 3:
            raise ValueError(f"{scales} scales; the contract needs three results, so at least 3")
        self.features = features
        self.blocks = blocks
        self.levels = scales
        coarsest = 2 ** (scales - 1)
        self.multiple_of = coarsest
        convolutions = sum(2**s * (4 * blocks + 4) for s in range(scales)) + sum(
            2 * 2**s for s in range(1, scales)
        )
        self.reach = convolutions + 4 * (coarsest - 1)  # pixel shuffle 1 and pyramid filter 3 px per doubling

        self.body_models = nn.ModuleList(
            [_ResNet(6 if s < scales - 1 else 3, features, blocks) for s in range(scales)]
        )
        self.conv_end_models = nn.ModuleList([_Enlarge() if s > 0 else nn.Module() for s in range(scales)])

    def correction(self, rgb: Tensor) -> Tensor:
        return self.scales(rgb)[0] - rgb

    def forward(self, rgb: Tensor) -> Tensor:
        return self.scales(rgb)[0]

    def scales(self, rgb: Tensor) -> Scales:
        """Results at 1, 1/2 and 1/4 of the size."""
        return self.from_pyramid(gaussian_pyramid(rgb, self.levels))

    def from_pyramid(self, levels: list[Tensor]) -> Scales:
        """Results from a ready-made pyramid, full size first, range [0, 1]."""
        results: list[Tensor] = []
        coarser: Tensor | None = None
        for s in reversed(range(self.levels)):
            level = levels[s] * _RANGE - _RANGE / 2
            if coarser is not None:
                level = torch.cat([level, self.conv_end_models[s + 1](coarser)], dim=1)
            coarser = self.body_models[s](level)
            results.append((coarser + _RANGE / 2) / _RANGE)
        return results[-1], results[-2], results[-3]

    def pyramid(self, rgb: Tensor) -> Scales:
        full, middle, coarse = gaussian_pyramid(rgb, 3)
        return full, middle, coarse


def half_filter(like: Tensor) -> Tensor:
    """The taps of the pyramid filter, as a tensor of that kind."""
    return like.new_tensor(_HALF_FILTER + _HALF_FILTER[::-1])


def gaussian_pyramid(rgb: Tensor, levels: int, taps: Tensor | None = None) -> list[Tensor]:
    """Halve a picture `levels - 1` times (even sizes), full size first; `taps` is `half_filter`, made before.

    Each halving is a separable 8-tap filter with stride 2 and the borders mirrored with the edge pixel
    repeated; it equals scikit-image's `pyramid_gaussian` with default arguments within 2e-5 of 255.
    """
    taps = half_filter(rgb) if taps is None else taps
    pyramid = [rgb]
    for _ in range(levels - 1):
        pyramid.append(_halve(_halve(pyramid[-1], -2, taps), -1, taps))
    return pyramid


def _halve(x: Tensor, dim: int, taps: Tensor) -> Tensor:
    size = x.shape[dim]
    if size < 3:
        raise ValueError(f"a side of {size} px is too short for the pyramid filter (3 at least)")
    first, last = x.narrow(dim, 0, 3).flip(dim), x.narrow(dim, size - 3, 3).flip(dim)
    padded = torch.cat([first, x, last], dim=dim)
    shape = (1, 1, 8, 1) if dim == -2 else (1, 1, 1, 8)
    stride = (2, 1) if dim == -2 else (1, 2)
    channels = x.shape[1]
    return F.conv2d(padded, taps.view(shape).expand(channels, 1, *shape[2:]), stride=stride, groups=channels)


class _ResBlock(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 5, padding=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x) + x
        return result


class _ResNet(nn.Module):
    def __init__(self, c_in: int, features: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, features, 5, padding=2),
            *(_ResBlock(features) for _ in range(blocks)),
            nn.Conv2d(features, 3, 5, padding=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        return result


class _Enlarge(nn.Module):
    """From one scale to the next finer: a convolution and a pixel shuffle, no activation."""

    def __init__(self) -> None:
        super().__init__()
        self.uppath = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.uppath(x)
        return result
