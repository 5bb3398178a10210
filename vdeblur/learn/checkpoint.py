"""A training run on disk: one file with all that going on needs, written beside and renamed."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint such that a crash leaves either the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    torch.save(state, beside)
    os.replace(beside, path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save`; nothing but tensors and plain values is accepted."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values, paths as text."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}


def export(path: Path, state_dict: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write weights for use: half precision safetensors with `facts` as its metadata, renamed when whole."""
    from safetensors.torch import save_file

    beside = path.with_name(path.name + ".part")
    save_file({key: value.detach().half().contiguous() for key, value in state_dict.items()}, beside, facts)
    beside.chmod(0o644)  # safetensors writes for the owner alone
    os.replace(beside, path)
