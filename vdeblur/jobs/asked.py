"""Which network, on what: the options of every command that runs one, as one value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAsk:
    """What `Deblurrer.load` is given, as far as people ask for it by name."""

    model: str = "auto"
    weights: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    tile: str = "auto"

    def engine(self) -> dict[str, Any]:
        """The part that `Deblurrer.load` takes."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in dataclasses.fields(NetworkAsk))
