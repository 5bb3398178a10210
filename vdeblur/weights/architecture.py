"""Which network a set of tensors belongs to, read from nothing but their names and shapes; no torch.

Weights know their network: family, width, depth and stem are never configured beside them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from vdeblur.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]

WIDEST, DEEPEST = 1024, 200
"""Sizes beyond these are no network but a damaged or hostile file."""

_OTHERS = {
    "conv_layers.": "the discriminator of DeepDeblur",
    "stage1_encoder.": "MPRNet",
    "middle_blks.": "NAFNet",
    "patch_embed.": "Restormer or another transformer",
    "encoder_level1.": "Restormer or another transformer",
    "fpn.": "DeblurGAN-v2",
    "feat_prop.": "BasicVSR",
}
"""How files of other projects begin, for the message only."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network and its sizes; `stem` is of mimo-unet only, `scales` of msresnet."""

    family: Literal["mimo-unet", "msresnet"]
    channels: int
    blocks: int
    stem: Literal["full", "half"] = "full"
    scales: int = 3

    def __str__(self) -> str:
        last = f"{self.stem} stem" if self.family == "mimo-unet" else f"{self.scales} scales"
        return f"{self.family} ({self.channels} channels, {self.blocks} blocks, {last})"

    @property
    def multiple_of(self) -> int:
        """Height and width of an input must be multiples of this; as the network in torch says."""
        if self.family == "mimo-unet":
            return 8 if self.stem == "half" else 4
        return 1 << (self.scales - 1)

    @property
    def reach(self) -> int:
        """An output pixel depends on none further away, in px; as the network in torch says."""
        if self.family == "mimo-unet":
            step = 2 if self.stem == "half" else 1
            return step * (28 * self.blocks + 17) + (step - 1)
        kernels = sum((4 * self.blocks + 4) << s for s in range(self.scales))
        return kernels + sum(2 << s for s in range(1, self.scales)) + 4 * (self.multiple_of - 1)

    def facts(self) -> dict[str, str]:
        """As text pairs, for the metadata of a safetensors file."""
        facts = {"family": self.family, "channels": str(self.channels), "blocks": str(self.blocks)}
        return facts | ({"stem": self.stem} if self.family == "mimo-unet" else {"scales": str(self.scales)})


def prefix_of(keys: Collection[str]) -> str:
    """What a program has put before every key: "module.", "net." and the like."""
    found = (re.match(r"(|.*?\.)(?:feat_extract|body_models)\.", key) for key in keys)
    prefix = next((match[1] for match in found if match), "")
    return prefix if all(key.startswith(prefix) for key in keys) else ""


def recognise(shapes: Shapes, source: object) -> Architecture:
    """The network that these tensors are the weights of; `source` names the file in messages.

    Raises InputError where no family known here has such names or shapes.
    """
    prefix = prefix_of(shapes)
    shapes = {key.removeprefix(prefix): shape for key, shape in shapes.items()}
    if any(key.startswith("feat_extract.") for key in shapes):
        return _mimo_unet(shapes, source)
    if any(key.startswith("body_models.") for key in shapes):
        return _msresnet(shapes, source)
    first = next(iter(shapes), None)
    if first is None:
        raise InputError(f"{source}: holds no tensors; give the weights of MIMO-UNet or DeepDeblur")
    looks = next(
        (name for part, name in _OTHERS.items() if any(key.startswith(part) for key in shapes)), None
    )
    like = f"it looks like {looks}" if looks else "its network is not known"
    raise InputError(f"{source}: not MIMO-UNet or DeepDeblur weights, {like} (the first tensor is {first!r})")


def check_ensemble(family: str | None, source: object) -> None:
    """InputError where a network has no mean over four rotations; None: not known yet."""
    if family not in (None, "mimo-unet"):
        raise InputError(f"{source}: {family} has no rotation ensemble, that is for mimo-unet only")


def _mimo_unet(shapes: Shapes, source: object) -> Architecture:
    key = "feat_extract.0.main.0.weight"
    channels, inputs, *kernel = _shape(shapes, key, 4, "mimo-unet", source)
    if inputs not in (3, 12) or kernel != [3, 3] or not 4 <= channels <= WIDEST:
        raise InputError(
            f"{source}: looks like mimo-unet, but {key} is {_x(shapes[key])} instead of Nx3x3x3 or Nx12x3x3"
        )
    blocks = _count(shapes, r"Encoder\.0\.layers\.(\d+)\.")
    _check_depth(blocks, "mimo-unet", source)
    return Architecture("mimo-unet", channels, blocks, stem="half" if inputs == 12 else "full")


def _msresnet(shapes: Shapes, source: object) -> Architecture:
    key = "body_models.0.body.0.weight"
    features, inputs, *kernel = _shape(shapes, key, 4, "msresnet", source)
    if inputs != 6 or kernel != [5, 5] or not 1 <= features <= WIDEST:
        raise InputError(
            f"{source}: looks like msresnet (DeepDeblur), but {key} is {_x(shapes[key])} instead of Nx6x5x5"
        )
    scales = _count(shapes, r"body_models\.(\d+)\.")
    if not 3 <= scales <= 6:
        raise InputError(f"{source}: msresnet (DeepDeblur) with {scales} scales; 3 to 6 can be run")
    blocks = _count(shapes, r"body_models\.0\.body\.(\d+)\.") - 2
    _check_depth(blocks, "msresnet", source)
    return Architecture("msresnet", features, blocks, scales=scales)


def _shape(shapes: Shapes, key: str, axes: int, family: str, source: object) -> tuple[int, ...]:
    if key not in shapes:
        raise InputError(f"{source}: looks like {family}, but {key!r} is missing; the file is not whole")
    if len(shapes[key]) != axes:
        raise InputError(
            f"{source}: looks like {family}, but {key} is {_x(shapes[key])}, not a convolution's weight"
        )
    return shapes[key]


def _check_depth(blocks: int, family: str, source: object) -> None:
    if not 0 <= blocks <= DEEPEST:
        raise InputError(
            f"{source}: looks like {family}, but with {blocks} blocks; 0 to {DEEPEST} can be run"
        )


def _count(keys: Iterable[str], pattern: str) -> int:
    """One more than the largest number at the pattern's group; 0 where nothing matches."""
    found = (re.match(pattern, key) for key in keys)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
