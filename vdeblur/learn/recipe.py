"""A training recipe from a flat TOML file: every key is a setting, an unknown key is an error.

Keys are the names of `train.Settings`, those of the network (`channels`, `blocks`, `stem`), and those of
`synthesis.BlurSettings` with `blur_` in front. Folders are given at the command line, not in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vdeblur.data.synthesis import BlurSettings
from vdeblur.errors import InputError
from vdeblur.learn.train import Settings
from vdeblur.models.mimo_unet import MimoUNet

_NETWORK: dict[str, Any] = {"channels": 32, "blocks": 8, "stem": "full"}
_FOLDERS = ("photographs", "output")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file of settings says: the network's sizes, and the run without its folders."""

    network: Mapping[str, Any]
    settings: Settings

    def make_network(self) -> MimoUNet:
        """A network of these sizes with torch's own random weights (seed it before)."""
        return MimoUNet(**self.network)


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a TOML file, with single settings changed.

    Raises:
        InputError: no such file, no TOML, or a key or a type that the settings do not know.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} does not open: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}.") from error
    return make_recipe({**values, **(changes or {})}, str(path))


def make_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Sort flat values to where they belong; `origin` is named in messages."""
    settings = Settings(Path(), Path())
    blur = BlurSettings()
    network = dict(_NETWORK)
    run: dict[str, Any] = {}
    motion: dict[str, Any] = {}
    known = {f.name: getattr(settings, f.name) for f in fields(Settings) if f.name not in (*_FOLDERS, "blur")}
    known_blur = {f"blur_{f.name}": getattr(blur, f.name) for f in fields(BlurSettings)}
    for key, value in values.items():
        example = {**_NETWORK, **known, **known_blur}.get(key)
        if example is None:
            names = ", ".join([*_NETWORK, *known])
            raise InputError(f"{origin}: there is no setting {key!r}. Known: {names}, blur_...")
        if isinstance(example, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(example):
            raise InputError(f"{origin}: {key} is {value!r}; expected a value like {example!r}.")
        if key in network:
            network[key] = value
        elif key in known:
            run[key] = value
        else:
            motion[key.removeprefix("blur_")] = value
    return Recipe(network, replace(settings, **run, blur=replace(blur, **motion)))
