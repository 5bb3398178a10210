"""The networks once more, laid out for tensor cores: the same numbers, in layers that fast kernels exist for.

Made from a network at opening; nothing is learnt or stored in this form. What changes, and why it is exact
up to rounding: channels that are no multiple of 8 (3 in, 3 out, C - 3) are filled up with zeros and zero
weights; a 1x1 convolution of a concatenation is the sum of 1x1 convolutions of its parts; every second pixel
under a 1x1 convolution is its stride. Bias, sum and ReLU after a convolution go into one call (`Compute`), so
that they can be one kernel where there is one (`engine/fused.py`).

The input and the result are float32 (or what the picture is in), whatever the weights are in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vdeblur.models.contract import DeblurNetwork, Scales
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet, gaussian_pyramid, half_filter

UNIT = 8
"""Channels of a float16 tensor that the fast kernels take at a time."""
FAMILIES = (MimoUNet.family, MSResNet.family)
"""What has a fast form."""


Compute = Callable[["Conv", Tensor, Tensor | None], Tensor]
"""(conv, x, plus): relu(conv(x) + bias + plus), each of the last three only where there is one."""


def plain(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
    """`Compute` in torch's own operations."""
    convolve = F.conv_transpose2d if conv.transposed else F.conv2d
    result = convolve(x, conv.weight, conv.bias, conv.stride, conv.padding)
    if plus is not None:
        result = result.add_(plus)
    return result.relu_() if conv.relu else result


def rewritten(network: DeblurNetwork, compute: Compute = plain) -> DeblurNetwork:
    """The network in its fast form, with weights of its own; a family not known here as it is."""
    if isinstance(network, MimoUNet):
        return FastMimoUNet(network, compute)
    if isinstance(network, RotationEnsemble):
        return RotationEnsemble(rewritten(network.network, compute))
    if isinstance(network, MSResNet):
        return FastMSResNet(network, compute)
    return network


class Fast(DeblurNetwork):
    """What the fast forms share: they only correct, they are not trained."""

    def __init__(self, network: DeblurNetwork) -> None:
        super().__init__()
        self.family = network.family
        self.multiple_of = network.multiple_of
        self.reach = network.reach
        self.half_is_safe = network.half_is_safe

    def scales(self, rgb: Tensor) -> Scales:
        raise NotImplementedError("a fast form gives the full-size correction only")

    pyramid = scales


class FastMimoUNet(Fast):
    """MIMO-UNet, either stem."""

    def __init__(self, network: MimoUNet, compute: Compute = plain) -> None:
        super().__init__(network)
        self.step = network.step

        def conv(module: nn.Module, relu: bool) -> Conv:
            return Conv.of(_inner(module), compute, relu=relu)

        first, down2, down4, up2, up1, last = network.feat_extract
        self.first, self.down2, self.down4 = conv(first, True), conv(down2, True), conv(down4, True)
        self.up2, self.up1, self.last = conv(up2, True), conv(up1, True), conv(last, False)
        self.encoder = nn.ModuleList(_blocks(stage, compute) for stage in network.Encoder)
        self.decoder = nn.ModuleList(_blocks(stage, compute) for stage in network.Decoder)
        self.attend4, self.attend2 = (
            conv(f.get_submodule("merge"), False) for f in (network.FAM1, network.FAM2)
        )
        self.picture4, self.picture2 = (
            _PictureFeatures(scm, compute) for scm in (network.SCM1, network.SCM2)
        )
        self.fuse1, self.fuse2 = (
            _Fusion(aff, level, network.channels, compute) for level, aff in enumerate(network.AFFs)
        )
        self.join2, self.join1 = (_Join(_inner(c), compute) for c in network.Convs)

    def correction(self, rgb: Tensor) -> Tensor:
        like, s = self.first.weight, 2 * self.step
        fine = _widened(F.pixel_unshuffle(rgb, 2) if self.step == 2 else rgb, like)
        e1 = self.encoder[0](self.first(fine))
        coarse2 = self.picture2(_widened(rgb[..., ::s, ::s], like))
        d2 = self.down2(e1)
        e2 = self.encoder[1](self.attend2(d2 * coarse2, plus=d2))
        coarse4 = self.picture4(_widened(rgb[..., :: 2 * s, :: 2 * s], like))
        d4 = self.down4(e2)
        e4 = self.encoder[2](self.attend4(d4 * coarse4, plus=d4))

        fused2, fused1 = self.fuse2(e1, e2, e4), self.fuse1(e1, e2, e4)
        d4 = self.decoder[0](e4)
        d2 = self.decoder[1](self.join2(self.up2(d4), fused2))
        d1 = self.decoder[2](self.join1(self.up1(d2), fused1))
        head = self.last(d1)[:, : 3 * self.step**2].to(rgb.dtype)
        # A fused ReLU may make nothing of what is not a number: the guard must see it all the same, and in
        # no other picture of a batch.
        sums = [stage.sum((1, 2, 3), keepdim=True, dtype=rgb.dtype) for stage in (e1, e2, e4, d4, d2)]
        head = head + 0.0 * sum(sums)
        return F.pixel_shuffle(head, 2) if self.step == 2 else head


class FastMSResNet(Fast):
    """MSResNet; the pyramid and the sums at the border stay in the picture's own precision."""

    def __init__(self, network: MSResNet, compute: Compute = plain) -> None:
        super().__init__(network)
        self.levels = network.levels
        self.bodies = nn.ModuleList(_Body(body, compute) for body in network.body_models)
        self.enlarge = nn.ModuleList(
            Conv.of(end.get_submodule("uppath.0"), compute) for end in list(network.conv_end_models)[1:]
        )
        # A plain attribute: `half` must leave it alone, the pyramid is not made in half precision.
        where = next(network.parameters()).device
        self.taps = half_filter(torch.empty(0, dtype=torch.float64, device=where))

    def correction(self, rgb: Tensor) -> Tensor:
        like = next(self.parameters())
        levels = gaussian_pyramid(rgb, self.levels, self.taps.to(rgb.dtype))
        coarser: Tensor | None = None
        for s in reversed(range(self.levels)):
            parts = [levels[s] * 255.0 - 127.5]
            if coarser is not None:
                parts.append(F.pixel_shuffle(self.enlarge[s](coarser)[:, :12], 2))
            coarser = self.bodies[s](_widened(parts, like))
        assert coarser is not None
        return (coarser[:, :3].to(rgb.dtype) + 127.5) / 255.0 - rgb


class Conv(nn.Module):
    """A convolution, its channels filled up with zeros to whole units; `plus` is added before the ReLU."""

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        compute: Compute,
        *,
        stride: int = 1,
        padding: int = 0,
        transposed: bool = False,
        relu: bool = False,
    ) -> None:
        super().__init__()
        outputs, inputs = (1, 0) if transposed else (0, 1)
        filled = _filled(_filled(weight.detach(), outputs), inputs)
        self.weight = nn.Parameter(filled.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(_filled(bias.detach(), 0), requires_grad=False)
        self.stride, self.padding, self.transposed, self.relu = stride, padding, transposed, relu
        self._compute = compute

    @classmethod
    def of(cls, conv: nn.Module, compute: Compute, *, relu: bool = False, place: slice | None = None) -> Conv:
        """From torch's own; `place` puts its outputs there in a wider result, the rest stays zero."""
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        assert conv.bias is not None
        weight, bias = conv.weight.detach(), conv.bias.detach()
        if place is not None:
            weight = F.pad(weight, (0, 0, 0, 0, 0, 0, place.start, 0))
            bias = F.pad(bias, (place.start, 0))
        transposed = isinstance(conv, nn.ConvTranspose2d)
        stride, padding = conv.stride[0], conv.padding[0]
        assert isinstance(padding, int)
        return cls(weight, bias, compute, stride=stride, padding=padding, transposed=transposed, relu=relu)

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        return self._compute(self, x, plus)


class _Blocks(nn.Module):
    """Residual blocks in a row: x + second(first(x))."""

    def __init__(self, pairs: Sequence[tuple[nn.Module, nn.Module]], compute: Compute) -> None:
        super().__init__()
        self.firsts = nn.ModuleList(Conv.of(first, compute, relu=True) for first, _ in pairs)
        self.seconds = nn.ModuleList(Conv.of(second, compute) for _, second in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.firsts, self.seconds, strict=True):
            x = second(first(x), plus=x)
        return x


class _Body(nn.Module):
    """One scale of MSResNet; its result has 8 channels, the first three count."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        super().__init__()
        first, *blocks, last = network.get_submodule("body").children()
        self.first, self.last = Conv.of(first, compute), Conv.of(last, compute)
        self.blocks = _Blocks(
            [(block.get_submodule("body.0"), block.get_submodule("body.2")) for block in blocks], compute
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.blocks(self.first(x)))
        return result


class _PictureFeatures(nn.Module):
    """SCM: the last layer writes behind three empty channels, into which the picture is copied."""

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        super().__init__()
        *early, late = network.get_submodule("main").children()
        self.main = nn.Sequential(
            *(Conv.of(_inner(part), compute, relu=True) for part in early),
            Conv.of(_inner(late), compute, relu=True, place=slice(3, None)),
        )
        self.conv = Conv.of(_inner(network.get_submodule("conv")), compute)

    def forward(self, picture: Tensor) -> Tensor:
        features: Tensor = self.main(picture)
        features[:, :3] = picture[:, :3]
        result: Tensor = self.conv(features)
        return result


class _Fusion(nn.Module):
    """AFF: each level convolved at its own size, the narrow results summed on the way up."""

    def __init__(self, network: nn.Module, level: int, channels: int, compute: Compute) -> None:
        super().__init__()
        wide, last = (_inner(part) for part in network.get_submodule("conv").children())
        assert isinstance(wide, nn.Conv2d)
        w1, w2, w4 = torch.split(wide.weight, [channels, 2 * channels, 4 * channels], dim=1)
        self.level = level
        self.from1 = Conv(w1, wide.bias, compute, stride=2 if level else 1, relu=True)
        self.from2, self.from4 = Conv(w2, None, compute), Conv(w4, None, compute)
        self.last = Conv.of(last, compute)

    def forward(self, e1: Tensor, e2: Tensor, e4: Tensor) -> Tensor:
        middle = self.from2(e2, plus=_doubled(self.from4(e4)))
        if self.level == 0:
            middle = _doubled(middle)
        result: Tensor = self.last(self.from1(e1, plus=middle))
        return result


class _Join(nn.Module):
    """A 1x1 convolution with ReLU of two tensors side by side, without laying them side by side."""

    def __init__(self, conv: nn.Module, compute: Compute) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        left, right = conv.weight.chunk(2, dim=1)
        self.left, self.right = Conv(left, None, compute), Conv(right, conv.bias, compute, relu=True)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = self.right(right, plus=self.left(left))
        return result


def _blocks(stage: nn.Module, compute: Compute) -> _Blocks:
    return _Blocks(
        [
            (_inner(block.get_submodule("main.0")), _inner(block.get_submodule("main.1")))
            for block in stage.get_submodule("layers").children()
        ],
        compute,
    )


def _inner(conv: nn.Module) -> nn.Module:
    """The convolution inside MIMO-UNet's module of convolution and ReLU."""
    return conv.get_submodule("main.0")


def _filled(weight: Tensor, dim: int) -> Tensor:
    """Zeros behind, up to whole units."""
    short = -weight.shape[dim] % UNIT
    return F.pad(weight, (0, 0) * (weight.ndim - 1 - dim) + (0, short)) if short else weight


def _widened(picture: Tensor | Sequence[Tensor], like: Tensor) -> Tensor:
    """Channels behind each other, filled up with zeros to whole units; channels_last, of `like`'s type."""
    parts = [picture] if isinstance(picture, Tensor) else picture
    channels = sum(part.shape[1] for part in parts)
    count, _, rows, columns = parts[0].shape
    size = (count, channels + -channels % UNIT, rows, columns)
    wide = torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last).zero_()
    at = 0
    for part in parts:
        wide[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return wide


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
