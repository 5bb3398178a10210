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
    own = os.environ.get("VDEBLUR_DATA")
    if own:
        return at(own)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "vdeblur"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "vdeblur"
    shared = os.environ.get("XDG_DATA_HOME", "")
    # The XDG rule: a relative path is invalid and to be ignored.
    return (Path(shared) if os.path.isabs(shared) else _home() / ".local" / "share") / "vdeblur"


def cache_folder() -> Path:
    """What can be made again, by the platform's custom; VDEBLUR_CACHE names another folder."""
    own = os.environ.get("VDEBLUR_CACHE")
    if own:
        return at(own)
    if sys.platform == "win32":
        return data_folder() / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "vdeblur"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if os.path.isabs(shared) else _home() / ".cache") / "vdeblur"


def at(typed: str | Path) -> Path:
    """A path with the home in place of `~`; where there is none, that is a name like any other."""
    return Path(os.path.expanduser(typed))


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
