"""A checkpoint in several small files of half precision, for places that take no large ones.

Weights and their average are stored in float16, the optimizers' state in bfloat16 (its squares do not fit
float16); everything else as it is. A run goes on from them almost as from the checkpoint itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vdeblur.errors import InputError
from vdeblur.learn import checkpoint

MOST_BYTES = 15_000_000
_SMALL = 64  # tensors of fewer numbers stay as they are (step counters)


def pack(state: dict[str, Any], folder: Path, most_bytes: int = MOST_BYTES) -> list[Path]:
    """Write `part-0.pt`, `part-1.pt`, ... of at most so many bytes; the first holds all that is no tensor.

    Files of an earlier packing are replaced, and those too many removed, after the new ones are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Tensor] = {}

    def taken(path: str, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        found[path] = _halved(path, leaf)
        return None

    plain = _rebuilt(state, taken)
    parts: list[dict[str, Tensor]] = [{}]
    used = 200_000
    for key, small in found.items():
        size = small.numel() * small.element_size() + 1000
        if used + size > most_bytes and parts[-1]:
            parts.append({})
            used = 0
        parts[-1][key] = small
        used += size
    files = [folder / f"part-{number}.pt" for number in range(len(parts))]
    for number, (file, tensors) in enumerate(zip(files, parts, strict=True)):
        beside = file.with_name(file.name + ".new")
        torch.save(
            {"tensors": tensors, "parts": len(parts), "step": state["step"]}
            | ({"rest": plain} if number == 0 else {}),
            beside,
        )
    for file in files:
        os.replace(file.with_name(file.name + ".new"), file)
    for old in folder.glob("part-*.pt"):
        if old not in files:
            old.unlink()
    return files


def unpack(folder: Path) -> dict[str, Any]:
    """The checkpoint, in float32 again.

    Raises InputError where a file is missing or belongs to another step.
    """
    first = folder / "part-0.pt"
    if not first.is_file():
        raise InputError(f"{folder}: holds no part-0.pt")
    head = checkpoint.load(first)
    tensors: dict[str, Tensor] = {}
    for number in range(head["parts"]):
        file = folder / f"part-{number}.pt"
        if not file.is_file():
            raise InputError(f"{file}: is missing; {head['parts']} parts belong together")
        part = checkpoint.load(file)
        if part["step"] != head["step"]:
            raise InputError(f"{file}: is of step {part['step']}, part-0.pt of step {head['step']}")
        tensors |= part["tensors"]
    state: dict[str, Any] = _rebuilt(
        head["rest"], lambda path, leaf: _doubled(tensors[path]) if path in tensors else leaf
    )
    return state


def _rebuilt(value: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """The same dicts and lists with `change(path, leaf)` for everything in them."""
    if isinstance(value, dict):
        return {key: _rebuilt(inner, change, f"{path}/{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rebuilt(inner, change, f"{path}/{number}") for number, inner in enumerate(value))
    return change(path, value)


def _halved(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point() or value.numel() < _SMALL:
        return value.detach().cpu().clone()
    kind = torch.float16 if key.startswith(("/network", "/average")) else torch.bfloat16
    return value.detach().to("cpu", kind)


def _doubled(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
