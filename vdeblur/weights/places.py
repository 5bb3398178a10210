"""Where weights lie: beside this file those of the package, in the user's data folder those imported.

A user without a home (a bare number in a container) has none of his own, but where a variable says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SUFFIX = ".safetensors"


def package_folder() -> Path:
    """The weights that ship with the package."""
    return Path(__file__).parent


def data_folder() -> Path:
    """The user's own folder for vdeblur, by the platform's custom; VDEBLUR_DATA names another."""
    return _of_user("VDEBLUR_DATA", "XDG_DATA_HOME", ".local/share", "Application Support")


def cache_folder() -> Path:
    """What can be made again, by the platform's custom; VDEBLUR_CACHE names another folder."""
    if sys.platform == "win32" and not os.environ.get("VDEBLUR_CACHE"):
        return data_folder() / "cache"
    return _of_user("VDEBLUR_CACHE", "XDG_CACHE_HOME", ".cache", "Caches")


def at(typed: str | Path) -> Path:
    """A path with the home in place of `~`; where there is none, that is a name like any other."""
    return Path(os.path.expanduser(typed))


def _of_user(own: str, shared: str, on_linux: str, on_mac: str) -> Path:
    """Where the variable `own` says, else by the platform's custom."""
    if named := os.environ.get(own):
        return at(named)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "vdeblur"
    if sys.platform == "darwin":
        return _home() / "Library" / on_mac / "vdeblur"
    folder = os.environ.get(shared, "")
    # The XDG rule: a relative path is invalid and to be ignored.
    return (Path(folder) if os.path.isabs(folder) else _home() / on_linux) / "vdeblur"


def _home() -> Path:
    home = at("~")
    return home if home.is_absolute() else Path("/nonexistent")


def imported_folder() -> Path:
    """The weights that the user has imported."""
    return data_folder() / "weights"


def shipped() -> dict[str, Path]:
    """Names of the package whose weights are really here."""
    return _named(package_folder())


def imported() -> dict[str, Path]:
    """Names that the user has given to imported weights."""
    return _named(imported_folder())


def _named(folder: Path) -> dict[str, Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # there is none, or it is another user's
        return {}
    files = [folder / name for name in names if name.endswith(SUFFIX)]
    return {path.name.removesuffix(SUFFIX): path for path in files if os.path.isfile(path)}
