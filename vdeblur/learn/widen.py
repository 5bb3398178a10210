"""Grow a trained MIMO-UNet to twice its width without changing what it computes (Net2Net, Chen et al., 2016).

Every channel is doubled; a layer that reads the doubled channels shares its old weight between the copies
unevenly at random, so the copies part ways with the first step of training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vdeblur.models.mimo_unet import MimoUNet


def widen(narrow: MimoUNet, seed: int = 0, unevenness: float = 0.5) -> MimoUNet:
    """A network of twice the channels with the same results up to rounding.

    Args:
        narrow: the trained network.
        seed: of the random shares.
        unevenness: a copy gets a share of 0.5 +- up to 0.5 times this.
    """
    c = narrow.channels
    wide = MimoUNet(2 * c, narrow.blocks, narrow.stem, narrow.dropout)
    random = torch.Generator().manual_seed(seed)
    old = narrow.state_dict()
    new: dict[str, Tensor] = {}
    for key, target in wide.state_dict().items():
        weight = old[key].float()
        if weight.dim() == 1:
            new[key] = weight[_copies(weight.shape[0], target.shape[0])]
            continue
        # Transposed convolutions keep their inputs in front.
        transposed = key.startswith(("feat_extract.3", "feat_extract.4"))
        if transposed:
            weight = weight.transpose(0, 1)
        outputs, inputs = (target.shape[1], target.shape[0]) if transposed else target.shape[:2]
        weight = weight[_copies(weight.shape[0], outputs)]
        weight = _share(weight, _sources(key, c, weight.shape[1], inputs), random, unevenness)
        new[key] = weight.transpose(0, 1).contiguous() if transposed else weight
    wide.load_state_dict(new)
    return wide


def _copies(old: int, new: int) -> Tensor:
    """For each new channel the old one it copies; pictures (3 or 12 channels) stay as they are."""
    return torch.arange(new) % old


def _sources(key: str, c: int, old: int, new: int) -> Tensor:
    """For each new input of a layer the old input it copies: concatenations are copied part by part."""
    parts: list[tuple[int, int]]
    if key.startswith("AFFs") and ".conv.0." in key:
        parts = [(c, 2 * c), (2 * c, 4 * c), (4 * c, 8 * c)]
    elif key.startswith("Convs."):
        parts = [(old // 2, new // 2)] * 2
    elif key.startswith("SCM") and ".conv.main" in key:
        parts = [(3, 3), (old - 3, new - 3)]
    else:
        parts = [(old, new)]
    sources, offset = [], 0
    for before, after in parts:
        sources.append(offset + _copies(before, after))
        offset += before
    return torch.cat(sources)


def _share(weight: Tensor, sources: Tensor, random: torch.Generator, unevenness: float) -> Tensor:
    """Spread each input's weight over its copies; the shares of one input add up to 1."""
    share = 1 + unevenness * (2 * torch.rand(weight.shape[0], len(sources), generator=random) - 1)
    total = torch.zeros(weight.shape[0], weight.shape[1]).index_add_(1, sources, share)
    return weight[:, sources] * (share / total[:, sources])[:, :, None, None]
