"""vdeblur: give it a blurred video, get it back sharp with nothing else changed.

Importing this package is silent and loads neither torch nor av; the public names are
fetched when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Deblurrer", "__version__", "deblur_array", "deblur_file"]

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer, deblur_array
    from vdeblur.jobs.deblur import deblur_file

_HOMES = {
    "Deblurrer": "vdeblur.engine.deblurrer",
    "deblur_array": "vdeblur.engine.deblurrer",
    "deblur_file": "vdeblur.jobs.deblur",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vdeblur' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
