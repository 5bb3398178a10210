"""Units of a MIMO-UNet that never speak: found, and given weights with which they learn again.

A unit whose ReLU is zero on every picture adds nothing and has no gradient, so no training brings it back. A
high rate silences whole blocks of the coarse levels: what they read has a large mean, along which a few steps
push all units of a layer below zero (docs/training-notes.md has what that cost the networks of the package).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vdeblur.models.mimo_unet import MimoUNet

LEAST_SHARE = 1e-4  # of positions at which a unit that speaks is above zero
ATTEMPTS = 16  # to make a unit speak; about half of all draws do


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution with a ReLU behind it, and the only one that reads it, from input channel `first` on.

    `stream` names what a residual block reads; layers of one stream read the same features. Empty elsewhere.
    """

    name: str
    reader: str
    first: int = 0
    stream: str = ""


@torch.no_grad()
def silent(network: MimoUNet, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """For each layer, by name, which of its units are zero almost everywhere: bool, one a unit.

    Layers that feed a residual stream are left out: what they do not say others may say for them.

    pictures    blurred ones, as there is little to say of sharp ones; 1x3xHxW, RGB in [0, 1], sides that the
                network takes
    """
    shares: dict[str, Tensor] = {}

    def listen(layer: _Layer) -> torch.utils.hooks.RemovableHandle:
        units = len(_by_unit(network, layer.name))
        shares[layer.name] = torch.zeros(units)

        def heard(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            features = inputs[0][:, layer.first : layer.first + units]
            shares[layer.name] += (features > 0).float().mean((0, 2, 3)).cpu() / len(pictures)

        return network.get_submodule(layer.reader).register_forward_pre_hook(heard)

    handles = [listen(layer) for layer in _layers(network)]
    try:
        for picture in pictures:
            network.correction(picture)
    finally:
        for handle in handles:
            handle.remove()
    return {name: share < LEAST_SHARE for name, share in shares.items()}


def count(network: MimoUNet, pictures: Sequence[Tensor]) -> str:
    """How many units are silent, in words."""
    units = torch.cat(list(silent(network, pictures).values()))
    return f"{int(units.sum())} of {len(units)} units silent on blurred pictures"


@torch.no_grad()
def revive(network: MimoUNet, pictures: Sequence[Tensor], seed: int = 0) -> int:
    """Give silent units new weights, and what reads them zeros for them, in place: the results stay the same,
    but for what units below `LEAST_SHARE` said.

    In a residual block a unit takes the filter of one that speaks on the same stream, turned or mirrored:
    those bear what silences random ones, and are of use at once. Elsewhere filters are drawn.

    Returns how many units speak now that did not.
    """
    random = torch.Generator().manual_seed(seed)
    layers = _layers(network)
    quiet = before = silent(network, pictures)
    speakers: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for layer in layers:
        both = zip(
            _by_unit(network, layer.name), _bias(network, layer.name), ~before[layer.name], strict=True
        )
        speakers.setdefault(layer.stream, []).extend(
            (w.clone(), b.clone()) for w, b, speaks in both if speaks
        )
    for attempt in range(ATTEMPTS):
        if not any(units.any() for units in quiet.values()):
            break
        for layer in layers:
            filters, bias = _by_unit(network, layer.name), _bias(network, layer.name)
            known = speakers[layer.stream] if layer.stream and attempt < ATTEMPTS // 2 else []
            for unit in quiet[layer.name].nonzero()[:, 0]:
                _by_input(network, layer.reader)[layer.first + unit] = 0
                if known:
                    which, turn = (int(torch.randint(n, (), generator=random)) for n in (len(known), 8))
                    filters[unit], bias[unit] = _turned(known[which][0], turn), known[which][1]
                else:
                    drawn = torch.randn(filters[unit].shape, generator=random)
                    filters[unit], bias[unit] = (drawn - drawn.mean()) / drawn.numel() ** 0.5, 0
        quiet = silent(network, pictures)
    return sum(int(before[name].sum() - quiet[name].sum()) for name in before)


def _layers(network: MimoUNet) -> list[_Layer]:
    found = [
        _Layer("feat_extract.3", "Convs.0"),
        _Layer("feat_extract.4", "Convs.1"),
        _Layer("AFFs.0.conv.0", "AFFs.0.conv.1"),
        _Layer("AFFs.1.conv.0", "AFFs.1.conv.1"),
    ]
    for module in ("SCM1", "SCM2"):
        row = [f"{module}.main.{n}" for n in range(4)]
        found += [_Layer(name, reader) for name, reader in pairwise(row)]
        found.append(_Layer(row[-1], f"{module}.conv", first=3))  # behind the picture
    for side in ("Encoder", "Decoder"):
        for level in range(3):
            # The coarsest level of the decoder goes on with the encoder's features as they are.
            stream = "coarse" if (side, level) in (("Encoder", 2), ("Decoder", 0)) else f"{side}.{level}"
            for block in range(network.blocks):
                inside = f"{side}.{level}.layers.{block}.main"
                found.append(_Layer(f"{inside}.0", f"{inside}.1", stream=stream))
    return found


def _conv(network: MimoUNet, name: str) -> nn.Conv2d | nn.ConvTranspose2d:
    conv = network.get_submodule(f"{name}.main.0")
    assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
    return conv


def _by_unit(network: MimoUNet, name: str) -> Tensor:
    """A view of a convolution's weight with what it puts out in front."""
    conv = _conv(network, name)
    return conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight


def _by_input(network: MimoUNet, name: str) -> Tensor:
    """A view of a convolution's weight with what it reads in front."""
    return _by_unit(network, name).transpose(0, 1)


def _bias(network: MimoUNet, name: str) -> Tensor:
    bias = _conv(network, name).bias
    assert bias is not None
    return bias


def _turned(filter_: Tensor, turn: int) -> Tensor:
    """One of the eight ways to turn and mirror a filter, C x k x k."""
    return (filter_.flip(2) if turn >= 4 else filter_).rot90(turn % 4, (1, 2))
