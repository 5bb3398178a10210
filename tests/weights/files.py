"""Small weights files for tests: every network tiny, values from a seed, containers as torch writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.models.msresnet import MSResNet


def mimo_state(channels: int = 4, blocks: int = 1, stem: Any = "full", seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(MimoUNet(channels, blocks, stem).state_dict())


def msresnet_state(features: int = 4, blocks: int = 1, scales: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(MSResNet(features, blocks, scales).state_dict())


def write_torch(path: Path, content: Any, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_safetensors(path: Path, state: dict[str, Tensor], facts: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, path, facts)
    return path
