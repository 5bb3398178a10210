"""Weights as numpy arrays, for backends that compute without torch.

Files that vdeblur wrote itself (those of the package, and imports) are read as they are; any other file goes
through `weights/loading.py`, with all its checks and with torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vdeblur.errors import InputError
from vdeblur.weights import places
from vdeblur.weights.architecture import Architecture, check_ensemble, recognise
from vdeblur.weights.containers import read_header, recognise_container, sha256

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network as its tensors, float32 by their published names, and what they say it is.

    path     the file they came from, and its `sha256`
    notes    what was chosen among several things in the file, one line each
    """

    arrays: Mapping[str, Array]
    architecture: Architecture
    ensemble: bool
    path: Path
    sha256: str
    notes: tuple[str, ...] = ()


def load_arrays(path: Path, *, ensemble: bool = False) -> Weights:
    """The tensors of a weights file; raises InputError, in one line, as `loading.load_network` does."""
    if not _is_ours(path):
        from vdeblur.weights.loading import load_network

        loaded = load_network(path, ensemble=ensemble)
        network: Any = loaded.network.network if ensemble else loaded.network
        arrays = {key: value.numpy() for key, value in network.state_dict().items()}
        return Weights(arrays, loaded.architecture, ensemble, path, loaded.sha256, loaded.notes)

    from safetensors.numpy import load_file

    try:
        arrays = {key: value.astype(np.float32) for key, value in load_file(path).items()}
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cut off or damaged, cannot be loaded ({reason}); fetch it again") from None
    architecture = recognise({key: value.shape for key, value in arrays.items()}, path)
    if ensemble:
        check_ensemble(architecture.family, path)
    return Weights(arrays, architecture, ensemble, path, sha256(path))


def _is_ours(path: Path) -> bool:
    """Whether vdeblur wrote the file, and looked at every tensor then; others may lie beside its imports."""
    folder = path.resolve().parent
    if folder == places.package_folder().resolve():
        return True
    if folder != places.imported_folder().resolve() or recognise_container(path) != "safetensors":
        return False
    return "original_sha256" in read_header(path).metadata
