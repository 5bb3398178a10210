"""Weights for networks whose real ones are not here: the same work, so that speed can be measured.

Made from a seed; what the network says is small, so that the guard takes it as it takes that of a trained
one. Good for nothing but the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from vdeblur.errors import InputError
from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.models.msresnet import MSResNet
from vdeblur.weights import store
from vdeblur.weights.catalogue import ENSEMBLE

SMALL = 0.02
"""What is left of an ordinary random network's say."""


def find_or_make(
    model: str, weights: Path | None, device_kind: str, folder: Path
) -> tuple[str, Path | None, bool]:
    """(model, weights) as the engine and the command take them, and whether the weights were made up.

    Raises InputError for names that mean no known network.
    """
    try:
        store.resolve(model, weights, device_kind)
        return model, weights, False
    except InputError:
        plain = model.removesuffix(ENSEMBLE)
        if weights is not None or plain not in MAKERS:
            raise
    path = folder / f"{plain}.untrained.safetensors"
    save_file({key: value.contiguous() for key, value in MAKERS[plain]().state_dict().items()}, path)
    ensemble = model.endswith(ENSEMBLE) or plain == "mimo-unet-plus-plus"
    return (ENSEMBLE if ensemble else "auto"), path, True


def _mimo(blocks: int) -> Callable[[], torch.nn.Module]:
    def make() -> torch.nn.Module:
        torch.manual_seed(0)
        network = MimoUNet(channels=32, blocks=blocks)
        with torch.no_grad():
            for parameter in network.feat_extract[5].parameters():
                parameter.mul_(SMALL)
        return network

    return make


def _msresnet() -> torch.nn.Module:
    """It predicts the picture itself: the first three channels carry it through."""
    torch.manual_seed(0)
    network = MSResNet()
    with torch.no_grad():
        for body in network.body_models:
            first, *between, last = (m for m in body.modules() if isinstance(m, torch.nn.Conv2d))
            for parameter in first.parameters():
                parameter[:3] = 0.0
            for convolution in (*between[1::2], last):
                for parameter in convolution.parameters():
                    parameter.mul_(SMALL)
            for channel in range(3):
                first.weight[channel, channel, 2, 2] = 1.0
                last.weight[channel, channel, 2, 2] = 1.0
    return network


MAKERS: dict[str, Callable[[], torch.nn.Module]] = {
    "mimo-unet": _mimo(8),
    "mimo-unet-plus": _mimo(20),
    "mimo-unet-plus-plus": _mimo(20),
    "deepdeblur": _msresnet,
}
