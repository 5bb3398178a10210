"""Planes to RGB, and a difference of RGB back onto the planes: the one colour arithmetic of all backends.

Pure tensor functions: run as they are, captured, or folded into an exported graph. A component is a tensor
(N, rows, columns) of words as they are stored: uint8, or int16 that holds the bits of uint16 (torch knows
few operations on uint16). Two promises:
- `to_rgb` follows the standards' numbers in `vdeblur/colour.py`; results are clipped to [0, 1].
- `add_difference` with a difference of zero gives back the words bit for bit, whatever they hold: codes
  outside the nominal range and bits below the sample too. No code is moved further out of the nominal
  range than it was.

Chroma is spread evenly over the luma pixels of its sample, and differences are averaged over the same
pixels: the one undoes the other exactly, wherever the chroma is sited.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vdeblur import colour
from vdeblur.colour import Codes
from vdeblur.engine.lane import component_sizes
from vdeblur.frame import PlaneLayout


def to_rgb(words: Sequence[Tensor], layout: PlaneLayout, out: Tensor | None = None) -> Tensor:
    """Colour components -> (N, 3, rows, columns) float32 RGB in [0, 1].

    The luma size must be whole blocks of the chroma grid (pad the words before); it may exceed the layout's.
    `out` receives the result where given.
    """
    first = words[0]
    count, rows, columns = first.shape
    if out is None:
        out = torch.empty((count, 3, rows, columns), dtype=torch.float32, device=first.device)
    codes = colour.luma_codes(layout.depth, layout.range)
    if layout.kind != "yuv":
        for channel in range(3):
            source = words[channel] if layout.kind == "rgb" else first
            out[:, channel] = _values(source, layout, codes)
        return out.clamp_(0.0, 1.0)

    across, down = layout.subsampling
    luma = _values(first, layout, codes).view(count, rows // down, down, columns)
    chroma_codes = colour.chroma_codes(layout.depth, layout.range)
    cb, cr = (_values(word, layout, chroma_codes) for word in words[1:3])
    for channel, (_, from_cb, from_cr) in enumerate(colour.yuv_to_rgb(layout.matrix).tolist()):
        offset = (cb * from_cb).add_(cr, alpha=from_cr)
        wide = offset.unsqueeze(-1).expand(*offset.shape, across).reshape(count, rows // down, 1, columns)
        torch.add(luma, wide, out=out[:, channel].view(luma.shape))
    return out.clamp_(0.0, 1.0)


def add_difference(
    words: Sequence[Tensor], difference: Tensor, layout: PlaneLayout, strength: float = 1.0
) -> list[Tensor]:
    """Components plus `strength` times a difference of RGB (N, 3, height, width), float32.

    The difference and the result have the layout's own size; words may be padded. The matrix is used without
    its offset; the sum is rounded (half to even) and clipped once.
    """
    sizes = component_sizes(layout)
    words = [word[:, :rows, :columns] for word, (rows, columns) in zip(words, sizes, strict=True)]
    codes = colour.luma_codes(layout.depth, layout.range)
    red, green, blue = difference.unbind(1)
    if layout.kind == "rgb":
        return [
            _added(word, change * (strength * codes.unit), layout, codes)
            for word, change in zip(words, (red, green, blue), strict=True)
        ]

    matrix = colour.MATRICES[layout.matrix].tolist()
    luma = _weighted((red, green, blue), [weight * strength * codes.unit for weight in matrix[0]])
    result = [_added(words[0], luma, layout, codes)]
    if layout.kind == "yuv":
        chroma_codes = colour.chroma_codes(layout.depth, layout.range)
        means = [_block_mean(channel, layout) for channel in (red, green, blue)]
        for word, row in zip(words[1:3], matrix[1:], strict=True):
            change = _weighted(means, [weight * strength * chroma_codes.unit for weight in row])
            result.append(_added(word, change, layout, chroma_codes))
    return result


def _values(words: Tensor, layout: PlaneLayout, codes: Codes) -> Tensor:
    """Stored words -> what they mean, float32: (code - zero) / unit."""
    return _codes(words, layout).sub_(codes.zero).mul_(1.0 / codes.unit)


def _codes(words: Tensor, layout: PlaneLayout) -> Tensor:
    """Stored words -> code values, a new float32 tensor."""
    if words.dtype == torch.uint8 or layout.depth + layout.lsb < 16:
        return words.to(torch.float32)
    return words.to(torch.int32).bitwise_and_(0xFFFF).bitwise_right_shift_(layout.lsb).to(torch.float32)


def _added(words: Tensor, change: Tensor, layout: PlaneLayout, codes: Codes) -> Tensor:
    """Words plus a change in codes (overwritten); rounded, clipped, stored as the words were."""
    before = _codes(words, layout)
    low, high = before.clamp(max=codes.low), before.clamp(min=codes.high)
    after = change.add_(before).round_().clamp_(low, high)
    if words.dtype == torch.uint8:
        return after.to(torch.uint8)
    stored = after.to(torch.int32)
    if layout.lsb:
        below = (1 << layout.lsb) - 1
        stored = stored.bitwise_left_shift_(layout.lsb).bitwise_or_(words.to(torch.int32).bitwise_and_(below))
    return stored.to(torch.int16)


def _weighted(channels: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    red, green, blue = channels
    return (red * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def _block_mean(channel: Tensor, layout: PlaneLayout) -> Tensor:
    """(N, height, width) -> its mean over the luma pixels of each chroma sample."""
    across, down = layout.subsampling
    for axis, step in ((-2, down), (-1, across)):
        if step == 1:
            continue
        short = -channel.shape[axis] % step
        if short:
            # The last sample's block is cut by the border: its mean is that of the pixels that exist.
            whole = channel.shape[axis] - (step - short)
            rest = channel.narrow(axis, whole, step - short).mean(axis, keepdim=True)
            channel = torch.cat([channel.narrow(axis, 0, whole), *[rest] * step], dim=axis)
        parts = [channel[..., i::step, :] if axis == -2 else channel[..., i::step] for i in range(step)]
        total = parts[0] + parts[1]
        for part in parts[2:]:
            total.add_(part)
        channel = total.mul_(1.0 / step)
    return channel
