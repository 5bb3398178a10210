"""MIMO-UNet (Cho et al., ICCV 2021), its deeper and smaller sisters, and the rotation ensemble called "++".

Written from the description of the architecture. Module names follow the published weight files, so a state
dict loads as it is; where the arithmetic differs from the plain reading (1x1 convolutions before nearest
upsampling, slices instead of nearest downsampling) the result is the same up to rounding.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdeblur.models.contract import DeblurNetwork, Scales

Stem = Literal["full", "half"]


class MimoUNet(DeblurNetwork):
    """One multi-input multi-output U-net with three levels; width, depth and stem are parameters.

    Published sizes: 32 channels with 8 blocks (MIMO-UNet) or 20 blocks and dropout 0.1 (MIMO-UNet+), full
    stem. The half stem works on 2x2 blocks of pixels laid into channels: its levels stand at 1/2, 1/4 and
    1/8, it costs a quarter and reaches twice as far.

    Args:
        channels: features at the finest level; the next two have twice and four times as many. At least 4.
        blocks: residual blocks in each of the six stages.
        stem: "full" or "half" resolution at the finest level.
        dropout: share of feature maps dropped after each fusion, in training only; has no weights.
    """

    family = "mimo-unet"
    half_is_safe = True

    def __init__(
        self, channels: int = 32, blocks: int = 8, stem: Stem = "full", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if stem not in ("full", "half"):
            raise ValueError(f"stem is {stem!r}; expected 'full' or 'half'")
        self.channels = channels
        self.blocks = blocks
        self.stem: Stem = stem
        self.dropout = dropout
        self.step = 2 if stem == "half" else 1
        self.multiple_of = 4 * self.step
        self.reach = self.step * (28 * blocks + 17) + (self.step - 1)

        c1, c2, c4 = channels, 2 * channels, 4 * channels
        picture = 3 * self.step**2
        self.feat_extract = nn.ModuleList(
            [
                _Conv(picture, c1, 3),
                _Conv(c1, c2, 3, stride=2),
                _Conv(c2, c4, 3, stride=2),
                _Conv(c4, c2, 4, stride=2, transposed=True),
                _Conv(c2, c1, 4, stride=2, transposed=True),
                _Conv(c1, picture, 3, relu=False),
            ]
        )
        self.Encoder = nn.ModuleList([_Stage(c, blocks) for c in (c1, c2, c4)])
        self.Decoder = nn.ModuleList([_Stage(c, blocks) for c in (c4, c2, c1)])
        self.Convs = nn.ModuleList([_Conv(2 * c2, c2, 1), _Conv(2 * c1, c1, 1)])
        self.ConvsOut = nn.ModuleList([_Conv(c4, 3, 3, relu=False), _Conv(c2, 3, 3, relu=False)])
        self.AFFs = nn.ModuleList([_Fusion((c1, c2, c4), c1), _Fusion((c1, c2, c4), c2)])
        self.FAM1, self.FAM2 = _Attention(c4), _Attention(c2)
        self.SCM1, self.SCM2 = _PictureFeatures(c4), _PictureFeatures(c2)

    def correction(self, rgb: Tensor) -> Tensor:
        head, _, _ = self._heads(rgb, coarse=False)
        return head

    def scales(self, rgb: Tensor) -> Scales:
        """Results at 1, 1/2, 1/4 (half stem: 1, 1/4, 1/8); the coarse inputs are every n-th pixel of the
        picture.
        """
        head, middle, coarse = self._heads(rgb, coarse=True)
        assert middle is not None
        assert coarse is not None
        s = 2 * self.step
        return rgb + head, rgb[..., ::s, ::s] + middle, rgb[..., :: 2 * s, :: 2 * s] + coarse

    def pyramid(self, rgb: Tensor) -> Scales:
        """Targets taken down bilinearly, each from the full picture (align_corners False, no smoothing
        before).
        """
        s = 2 * self.step
        middle, coarse = (
            F.interpolate(
                rgb, scale_factor=1 / n, mode="bilinear", align_corners=False, recompute_scale_factor=False
            )
            for n in (s, 2 * s)
        )
        return rgb, middle, coarse

    def _heads(self, rgb: Tensor, coarse: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Corrections at the three sizes, full first; the coarse two only on request, they cost a little."""
        s = 2 * self.step
        fine_picture = F.pixel_unshuffle(rgb, 2) if self.stem == "half" else rgb
        down2, down4, up2, up1 = (self.feat_extract[i] for i in (1, 2, 3, 4))

        e1 = self.Encoder[0](self.feat_extract[0](fine_picture))
        e2 = self.Encoder[1](self.FAM2(down2(e1), self.SCM2(rgb[..., ::s, ::s])))
        e4 = self.Encoder[2](self.FAM1(down4(e2), self.SCM1(rgb[..., :: 2 * s, :: 2 * s])))

        fused2 = self._drop(self.AFFs[1](e1, e2, e4, level=1))
        fused1 = self._drop(self.AFFs[0](e1, e2, e4, level=0))

        d4 = self.Decoder[0](e4)
        d2 = self.Decoder[1](self.Convs[0](torch.cat([up2(d4), fused2], dim=1)))
        d1 = self.Decoder[2](self.Convs[1](torch.cat([up1(d2), fused1], dim=1)))

        head = self.feat_extract[5](d1)
        if self.stem == "half":
            head = F.pixel_shuffle(head, 2)
        if not coarse:
            return head, None, None
        return head, self.ConvsOut[1](d2), self.ConvsOut[0](d4)

    def _drop(self, features: Tensor) -> Tensor:
        return F.dropout2d(features, self.dropout, self.training) if self.dropout else features


class RotationEnsemble(DeblurNetwork):
    """MIMO-UNet++: the mean of a network's results on the picture rotated by 0, 90, 180 and 270 degrees."""

    half_is_safe = True

    def __init__(self, network: DeblurNetwork) -> None:
        super().__init__()
        self.network = network
        self.family = network.family
        self.multiple_of = network.multiple_of
        self.reach = network.reach

    def correction(self, rgb: Tensor) -> Tensor:
        upright = torch.cat([rgb, rgb.rot90(2, (-2, -1))])
        lying = torch.cat([rgb.rot90(1, (-2, -1)), rgb.rot90(3, (-2, -1))])
        r0, r180 = self.network.correction(upright).chunk(2)
        r90, r270 = self.network.correction(lying).chunk(2)
        turned_back = (r0, r90.rot90(-1, (-2, -1)), r180.rot90(-2, (-2, -1)), r270.rot90(-3, (-2, -1)))
        return torch.stack(turned_back).mean(dim=0)

    def scales(self, rgb: Tensor) -> Scales:
        """The single network's results: an ensemble is not trained."""
        return self.network.scales(rgb)

    def pyramid(self, rgb: Tensor) -> Scales:
        return self.network.pyramid(rgb)


class _Conv(nn.Module):
    """A convolution with bias and zero padding, then an optional ReLU; the transposed form doubles the
    size.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, relu: bool = True, transposed: bool = False
    ) -> None:
        super().__init__()
        conv: nn.Module
        if transposed:
            conv = nn.ConvTranspose2d(c_in, c_out, kernel, stride, kernel // 2 - 1)
        else:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)
        self.main = nn.Sequential(conv, nn.ReLU(inplace=True)) if relu else nn.Sequential(conv)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.main(x)
        return result


class _Residual(nn.Module):
    """Two 3x3 convolutions, ReLU between them, the input added, nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(_Conv(channels, channels, 3), _Conv(channels, channels, 3, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.main(x) + x
        return result


class _Stage(nn.Module):
    """Residual blocks in a row."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Residual(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class _PictureFeatures(nn.Module):
    """SCM: features of a coarse input picture, computed with few layers; the picture itself stays in
    front.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, half = channels // 4, channels // 2
        self.main = nn.Sequential(
            _Conv(3, quarter, 3), _Conv(quarter, half, 1), _Conv(half, half, 3), _Conv(half, channels - 3, 1)
        )
        self.conv = _Conv(channels, channels, 1, relu=False)

    def forward(self, picture: Tensor) -> Tensor:
        features = self.main(picture)
        result: Tensor = self.conv(torch.cat([picture.to(features.dtype), features], dim=1))
        return result


class _Attention(nn.Module):
    """FAM: encoder features, plus a convolution of their product with the features of the coarse picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = _Conv(channels, channels, 3, relu=False)

    def forward(self, encoded: Tensor, pictured: Tensor) -> Tensor:
        result: Tensor = encoded + self.merge(encoded * pictured)
        return result


class _Fusion(nn.Module):
    """AFF: the encoder results of all levels brought to one size, concatenated, convolved 1x1 and 3x3.

    A 1x1 convolution and nearest resampling commute, so each level is convolved at its own size with its own
    columns of the weight, and only the narrow results are enlarged: the wide concatenation is never made.
    """

    def __init__(self, widths: tuple[int, int, int], c_out: int) -> None:
        super().__init__()
        self.widths = widths
        self.conv = nn.Sequential(_Conv(sum(widths), c_out, 1), _Conv(c_out, c_out, 3, relu=False))

    def forward(self, e1: Tensor, e2: Tensor, e4: Tensor, level: int) -> Tensor:
        """`level` 0 fuses at the size of e1, 1 at the size of e2."""
        weight, bias = self.conv.get_parameter("0.main.0.weight"), self.conv.get_parameter("0.main.0.bias")
        w1, w2, w4 = torch.split(weight, list(self.widths), dim=1)
        middle = F.conv2d(e2, w2) + F.interpolate(F.conv2d(e4, w4), scale_factor=2.0, mode="nearest")
        if level == 0:
            total = F.conv2d(e1, w1, bias) + F.interpolate(middle, scale_factor=2.0, mode="nearest")
        else:
            total = F.conv2d(e1[..., ::2, ::2], w1, bias) + middle
        result: Tensor = self.conv[1](F.relu(total))
        return result
