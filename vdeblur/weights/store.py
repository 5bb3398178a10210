"""Names to files: what `--model` and `--weights` mean, and the user's folder of imported weights.

Finding is free of torch; only what reads tensors (import, export) loads it. A name means weights: names of
the package are taken, imports get names of their own, and no network ever runs without weights.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.weights import catalogue, places
from vdeblur.weights.architecture import recognise
from vdeblur.weights.catalogue import ENSEMBLE, PACKAGE_NAMES
from vdeblur.weights.containers import read_header, recognise_container


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
        return _ref(weights.name + (ENSEMBLE if ensemble else ""), weights.expanduser(), ensemble)
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
        raise InputError(_how_to_get(name, asked, official))
    if name in PACKAGE_NAMES:
        raise InputError(f"{asked}: its weights are missing from this installation; install vdeblur again")
    if Path(name).is_file():
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
    if ensemble and family not in (None, "mimo-unet"):
        raise InputError(f"{name}: {family} has no rotation ensemble, that is for mimo-unet only")
    return WeightsRef(name, path, family, ensemble)


def _how_to_get(name: str, asked: str, official: list[catalogue.Official]) -> str:
    """One line from a name without weights to a command that runs."""
    here = places.imported()
    ensemble = ENSEMBLE if name == "mimo-unet-plus-plus" else ""
    imported = [o.name for o in official if o.name in here]
    if imported:
        return f"{asked}: the package has no weights of that name; you have {imported[0]}{ensemble}"
    first = official[0]
    return (
        f"{asked}: its weights cannot ship with vdeblur; download {first.file} from {first.page}, "
        f"then `vdeblur weights import FILE --name {first.name}` and use --model {first.name}{ensemble}"
    )


def check_name(name: str) -> None:
    """Refuse names that imports cannot have."""
    if name in PACKAGE_NAMES or name == "auto":
        official = catalogue.official_for(name)
        own = official[0].name if official else f"my-{name}"
        raise InputError(f"--name {name}: names of the package are taken; type for example --name {own}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]{0,63}", name) or name.endswith("."):
        raise InputError(f"--name {name}: use small letters, digits, '-', '_', '+' and '.', at most 64")
