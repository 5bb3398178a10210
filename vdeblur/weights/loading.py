"""Open safely -> canonical keys -> recognise family, width, depth and stem -> a network with weights.

Every published layout is taken; whatever does not fit a network exactly is refused with one line. Nothing
in a file is ever executed (`weights_only` always), and no more than the network itself, in float32, is
kept in memory: wrappers, optimizers and discriminators are dropped, zip and safetensors files are mapped.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vdeblur.errors import InputError, VdeblurError
from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet
from vdeblur.weights.architecture import Architecture, Shapes, check_ensemble, prefix_of, recognise
from vdeblur.weights.containers import WANTED, read_header, recognise_container, sha256

WRAPPERS = (
    "average",
    "params_ema",
    "model_ema",
    "ema",
    "params",
    "state_dict",
    "model",
    "network",
    "G",
    "generator",
)
"""Entries under which weights are published, the better one first: moving averages before last values."""
MOST_PARAMETERS = 1 << 30


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network ready to run: evaluation mode, float32, on the CPU, no gradients.

    path        the file it came from, and its `sha256`
    metadata    what a safetensors file says about itself, else nothing
    notes       what was chosen among several things in the file, one line each
    """

    network: DeblurNetwork
    architecture: Architecture
    path: Path
    sha256: str
    parameters: int
    metadata: Mapping[str, str]
    notes: tuple[str, ...]


def load_network(path: Path, *, ensemble: bool = False) -> Loaded:
    """Build the network that a weights file holds.

    Args:
        path: any file of a known container and layout.
        ensemble: the mean over four rotations, for the MIMO family.

    Raises InputError, in one line, for a file that is missing, cut off, of another kind, with code in it,
    with missing or unexpected tensors, or with values that are not finite.
    """
    found, metadata = _open(path)
    notes: list[str] = []
    state = _unwrapped(found, path, notes)
    del found  # with it go optimizers, discriminators and second copies
    prefix = prefix_of(state)
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    shapes = {key: tuple(value.shape) for key, value in _tensors(state, path)}
    architecture = recognise(shapes, path)
    if ensemble:
        check_ensemble(architecture.family, path)
    with torch.device("meta"):
        network = _build(architecture)
    _check_keys(shapes, network, architecture, path)
    weights = {key: _plain(state, key, path) for key in shapes}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)
    return Loaded(
        network=RotationEnsemble(network).eval() if isinstance(network, MimoUNet) and ensemble else network,
        architecture=architecture,
        path=path,
        sha256=sha256(path),
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        metadata=metadata,
        notes=tuple(notes),
    )


def _open(path: Path) -> tuple[Any, Mapping[str, str]]:
    """What a file holds, unpickled without executing anything, and a safetensors file's metadata."""
    container = recognise_container(path)
    try:
        if container == "safetensors":
            metadata = read_header(path).metadata
            from safetensors.torch import load_file

            return load_file(path), metadata
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the container; we know
            return torch.load(path, map_location="cpu", weights_only=True, mmap=container == "torch zip"), {}
    except VdeblurError:
        raise
    except UnpicklingError as error:
        unknown = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object ({unknown[1]})" if unknown else "something"
        raise InputError(
            f"{path}: holds {what} that is not plain weights and could be code; refused, nothing was run"
        ) from None
    except MemoryError:
        raise VdeblurError(f"{path}: there is not enough memory to load it") from None
    except Exception as error:  # whatever a damaged file makes torch or safetensors stumble over
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: cut off or damaged, cannot be loaded ({reason}); fetch it again") from None


def _unwrapped(found: Any, path: Path, notes: list[str]) -> MutableMapping[str, Any]:
    """The state dict inside whatever wrapper a program put around it; says where there was a choice."""
    for _ in range(4):
        if not isinstance(found, MutableMapping) or not all(isinstance(key, str) for key in found):
            raise InputError(f"{path}: holds no state dict but {type(found).__name__}; {WANTED}")
        inside = [name for name in WRAPPERS if isinstance(found.get(name), MutableMapping) and found[name]]
        if not inside:
            break
        if len(inside) > 1:
            notes.append(f"{path}: {inside[0]!r} is used, not {inside[1]!r}")
        found = found[inside[0]]
    if not any(isinstance(value, Tensor) for value in found.values()):
        names = ", ".join(map(repr, list(found)[:4])) or "nothing"
        raise InputError(f"{path}: holds no weights, only {names}; {WANTED}")
    result: MutableMapping[str, Any] = found
    return result


def _tensors(state: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Tensor]]:
    """The entries, each one seen to be a plain tensor of real numbers."""
    total = 0
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: the entry {key!r} is {type(value).__name__}, not a tensor of weights")
        if not value.is_floating_point() or value.layout != torch.strided or value.device.type != "cpu":
            raise InputError(f"{path}: {key!r} holds {value.dtype}, not plain floating point weights")
        total += value.numel()
        if total > MOST_PARAMETERS:
            raise InputError(
                f"{path}: more than {MOST_PARAMETERS:,} numbers; no network known here is that large"
            )
        yield key, value


def _build(a: Architecture) -> MimoUNet | MSResNet:
    if a.family == "mimo-unet":
        return MimoUNet(channels=a.channels, blocks=a.blocks, stem=a.stem)
    return MSResNet(features=a.channels, blocks=a.blocks, scales=a.scales)


def _check_keys(shapes: Shapes, network: DeblurNetwork, architecture: Architecture, path: Path) -> None:
    """Exactly the network's tensors, in its shapes, or InputError with the first that differ."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    faults = (
        ("missing", [key for key in wanted if key not in shapes]),
        ("unexpected", [key for key in shapes if key not in wanted]),
        (
            "of another shape",
            [
                f"{key} ({'x'.join(map(str, shapes[key]))} instead of {'x'.join(map(str, wanted[key]))})"
                for key in wanted
                if key in shapes and shapes[key] != wanted[key]
            ],
        ),
    )
    words = [
        f"{len(keys)} tensors are {what}, first {', '.join(keys[:2])}"
        if len(keys) > 1
        else f"{keys[0]} is {what}"
        for what, keys in faults
        if keys
    ]
    if words:
        raise InputError(f"{path}: looks like {architecture}, but {'; '.join(words)}")


def _plain(state: MutableMapping[str, Any], key: str, path: Path) -> Tensor:
    """One tensor as float32 in memory of its own; the file's copy is let go."""
    value: Tensor = state.pop(key)
    plain = value.detach().to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    # A sum is finite only if everything is, and ten times cheaper; a large finite one is looked at again.
    if not math.isfinite(plain.sum()) and not torch.isfinite(plain).all():
        raise InputError(
            f"{path}: {key} holds values that are not numbers (NaN or infinite); the weights are broken"
        )
    return plain
