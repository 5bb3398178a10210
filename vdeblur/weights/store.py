"""Names to files: what `--model` and `--weights` mean, and the user's folder of imported weights.

Finding is free of torch; only what reads tensors (import, export) loads it. A name means weights: names of
the package are taken, imports get names of their own, and no network ever runs without weights.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from vdeblur.errors import InputError, VdeblurError
from vdeblur.weights import catalogue, download, places
from vdeblur.weights.architecture import check_ensemble, recognise
from vdeblur.weights.catalogue import ENSEMBLE, PACKAGE_NAMES
from vdeblur.weights.containers import read_header, recognise_container

if TYPE_CHECKING:
    from vdeblur.weights.loading import Loaded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WeightsRef:
    """Weights that are here: what to call them, the file, and whether to average over four rotations.

    `family` is None where only loading the file can tell.
    """

    name: str
    path: Path
    family: str | None
    ensemble: bool = False


def resolve(model: str, weights: Path | None, device_kind: str) -> WeightsRef:
    """The weights that `--model` and `--weights` ask for on this kind of device ("cpu", "cuda", "mps").

    Raises InputError where a name is unknown or has no weights here (and says how to get them), or where a
    file is no weights file.
    """
    if weights is not None:
        ensemble = model in ("mimo-unet-plus-plus", ENSEMBLE)
        if model != "auto" and not ensemble:
            raise InputError(
                f"--model {model} with --weights {weights}: leave --model out, the file knows its network"
            )
        return _ref(weights.name + (ENSEMBLE if ensemble else ""), places.at(weights), ensemble)
    if model == "auto":
        model = catalogue.best_available(device_kind)
    plain, ensemble = model.removesuffix(ENSEMBLE), model.endswith(ENSEMBLE)
    if plain == "mimo-unet-plus-plus" and "mimo-unet-plus" in places.shipped():
        plain, ensemble = "mimo-unet-plus", True
    return _ref(model, find(plain), ensemble)


def find(name: str, option: str = "--model") -> Path:
    """The file of a name; InputError that says what to do where there is none, after the option's name."""
    asked = f"{option} {name}".strip()
    path = places.shipped().get(name) or places.imported().get(name)
    if path is not None:
        return path
    official = catalogue.official_for(name) or [o for o in catalogue.OFFICIAL if o.name == name]
    if official:
        raise InputError(_how_to_get(name, asked, option, official))
    if name in PACKAGE_NAMES:
        raise InputError(f"{asked}: its weights are missing from this installation; install vdeblur again")
    if os.path.isfile(name):
        raise InputError(f"{asked}: that is a file; write --weights {name}")
    known = [*places.shipped(), *places.imported()]
    everything = dict.fromkeys([*known, *PACKAGE_NAMES, *(o.name for o in catalogue.OFFICIAL)])
    near = difflib.get_close_matches(name, everything, n=2, cutoff=0.6)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"{asked}: no weights of that name{meant} (here: {', '.join(known) or 'none'}; "
        "`vdeblur weights list` shows all)"
    )


def _ref(name: str, path: Path, ensemble: bool) -> WeightsRef:
    """Look at the file as far as that goes without torch."""
    family = None
    if recognise_container(path) == "safetensors":
        family = recognise(read_header(path).shapes, path).family
    if ensemble:
        check_ensemble(family, name)
    return WeightsRef(name, path, family, ensemble)


def _how_to_get(name: str, asked: str, option: str, official: list[catalogue.Official]) -> str:
    """One line from a name without weights to a command that runs."""
    here = places.imported()
    ensemble = ENSEMBLE if name == "mimo-unet-plus-plus" else ""
    imported = [o.name for o in official if o.name in here]
    if imported:
        return f"{asked}: the package has no weights of that name; you have {imported[0]}{ensemble}"
    first = official[0]
    chosen = f"{option} {first.name}{ensemble}".strip()
    return (
        f"{asked}: its weights cannot ship with vdeblur; download {first.file} from {first.page}, "
        f"then `vdeblur weights import FILE --name {first.name}` and use {chosen}"
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """Weights just imported. `sha256` is that of the original file, whose name or address is `source`."""

    name: str
    path: Path
    architecture: str
    parameters: int
    sha256: str
    source: str
    notes: tuple[str, ...]

    def describe(self) -> list[tuple[str, str]]:
        """In words, for the terminal."""
        return [
            ("name", f"{self.name} (use it with --model {self.name})"),
            ("network", f"{self.architecture}, {self.parameters:,} parameters"),
            ("source", self.source),
            ("SHA-256", f"{self.sha256} of the original file"),
            ("kept as", str(self.path)),
            *(("note", note) for note in self.notes),
        ]


def import_weights(source: str, name: str, progress: download.Progress | None = None) -> Stored:
    """Take a weights file or address into the user's folder, as safetensors, usable as `--model NAME`.

    The original's checksum and origin stay in the new file's metadata. Written beside and renamed: a failure
    leaves nothing under the name. Raises VdeblurError, in one line.
    """
    check_name(name)
    if name in places.imported():
        raise InputError(f"--name {name}: taken by an earlier import; `vdeblur weights remove {name}` first")
    if not download.is_url(source):
        return _import_file(places.at(source), Path(source).name, name)
    fetched = _on_disk(lambda: download.download(source, places.data_folder() / "downloads", progress))
    try:
        return _import_file(fetched, _without_secrets(source), name)
    except VdeblurError as error:
        raise type(error)(str(error).replace(str(fetched), source)) from None
    finally:
        fetched.unlink(missing_ok=True)


def remove(name: str) -> str:
    """Delete imported weights; returns one line that says what is gone."""
    if name in PACKAGE_NAMES:
        raise InputError(f"{name}: ships with vdeblur and stays; only imported weights can be removed")
    path = places.imported().get(name)
    if path is None:
        raise InputError(
            f"{name}: not imported; there is {', '.join(places.imported()) or 'nothing to remove'}"
        )
    _on_disk(path.unlink)
    return f"{name}: removed ({path})"


def export_onnx(name_or_path: str, file: Path, height: int, width: int) -> str:
    """Write a network as ONNX for pictures of about this size; returns one line that says what was written.

    Raises MissingRuntimeError where the onnx packages are not installed.
    """
    from vdeblur.weights import export

    named = name_or_path.removesuffix(ENSEMBLE)
    path = places.at(named)
    if named in places.shipped() | places.imported() or not os.path.exists(path):
        path = find(named, "")
    return export.export_onnx(path, file, height, width, ensemble=named != name_or_path)


def check_name(name: str) -> None:
    """Refuse names that imports cannot have."""
    if name in PACKAGE_NAMES or name == "auto":
        official = catalogue.official_for(name)
        own = official[0].name if official else f"my-{name}"
        raise InputError(f"--name {name}: names of the package are taken; type for example --name {own}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]{0,63}", name) or name.endswith("."):
        raise InputError(f"--name {name}: use small letters, digits, '-', '_', '+' and '.', at most 64")


def _import_file(path: Path, source: str, name: str) -> Stored:
    from vdeblur.weights.loading import load_network

    loaded = load_network(path)
    kept = {key: loaded.metadata[key] for key in ("license", "scores") if key in loaded.metadata}
    facts = {
        **loaded.architecture.facts(),
        **kept,
        "source": source,
        "original_sha256": loaded.sha256,
        "imported": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    target = places.imported_folder() / f"{name}{places.SUFFIX}"
    _on_disk(lambda: _write(loaded, target, facts))
    architecture, notes = str(loaded.architecture), loaded.notes
    return Stored(name, target, architecture, loaded.parameters, loaded.sha256, source, notes)


def _write(loaded: Loaded, target: Path, facts: dict[str, str]) -> None:
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        save_file(loaded.network.state_dict(), beside, facts)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _on_disk(work: Callable[[], T]) -> T:
    """Do something in the user's folder; what the disk has against it becomes one line."""
    try:
        return work()
    except VdeblurError:
        raise
    except Exception as error:  # safetensors wraps the system's errors in its own class
        text = " ".join(str(error).split())
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text:
            raise VdeblurError(f"{places.data_folder()}: the disk is full; make room and try again") from None
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise InputError(
                f"{places.data_folder()}: cannot be written ({text}); VDEBLUR_DATA names another folder"
            ) from None
        raise


def _without_secrets(url: str) -> str:
    """An address without user, password and query, as it may stand in a file that is passed on."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
