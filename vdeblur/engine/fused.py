"""Convolution, bias, sum and ReLU with as few passes over memory as CUDA has kernels for.

torch's own convolution adds its bias in a second pass, a sum and a ReLU are a third and a fourth: at full
resolution these passes cost as much as the arithmetic. Here a ReLU is part of cuDNN's convolution; where
there is none, bias and sum (and ReLU, after a transposed convolution) are one pass, in place, by Triton.
So it is too for shapes that cuDNN has no fused kernel for. Needs CUDA, channels_last, and Triton, which comes
with torch on Linux; raises where one is missing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vdeblur.engine.rewrite import Conv
from vdeblur.engine.shortage import ran_out

BLOCK = 1024


class Fused:
    """`engine.rewrite.Compute`, fast.

    refused   cases that cuDNN has no fused kernel for: (shape, shape of the weights, stride, nothing added);
              the rounds before a capture find them, so that nothing fails in it
    """

    def __init__(self) -> None:
        self.refused: set[tuple[torch.Size, torch.Size, int, bool]] = set()

    def __call__(self, conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
        case = x.shape, conv.weight.shape, conv.stride, plus is None
        if conv.relu and not conv.transposed and case not in self.refused:
            try:
                return _in_one(conv, x, plus)
            except RuntimeError as error:
                if ran_out(error):
                    raise
            self.refused.add(case)
        convolve = F.conv_transpose2d if conv.transposed else F.conv2d
        result = convolve(x, conv.weight, None, conv.stride, conv.padding)
        return finish(result, conv.bias, plus, conv.relu)


def _in_one(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
    """With a ReLU, as one kernel of cuDNN; RuntimeError where it has none."""
    shape = [conv.stride] * 2, [conv.padding] * 2, [1, 1], 1
    if plus is None:
        return torch.cudnn_convolution_relu(x, conv.weight, conv.bias, *shape)
    return torch.cudnn_convolution_add_relu(x, conv.weight, plus, 1.0, conv.bias, *shape)


def finish(x: Tensor, bias: Tensor | None, plus: Tensor | None, relu: bool) -> Tensor:
    """relu(x + bias + plus), the parts only where given, written over `x`."""
    if bias is None and plus is None and not relu:
        return x
    for tensor in (x, plus):
        if tensor is not None and not tensor.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError("a tensor of the network lost its channels_last layout")
    from vdeblur.engine.epilogue import epilogue

    epilogue[(-(-x.numel() // BLOCK),)](
        x,
        x if bias is None else bias,
        x if plus is None else plus,
        x.numel(),
        x.shape[1],
        bias is not None,
        plus is not None,
        relu,
        BLOCK,
    )
    return x
