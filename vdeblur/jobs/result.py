"""What a finished run gives back, and the report that can be written of it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vdeblur import __version__
from vdeblur.ledger import Ledger
from vdeblur.video.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: where the file is, what happened to the frames, and with what."""

    target: Path
    ledger: Ledger
    settings: dict[str, Any]
    receipt: Receipt | None = None  # None where none was asked for

    def report(self) -> dict[str, Any]:
        """Plain values for a JSON file: settings, versions, totals, and every frame."""
        keys = ("index", "pts", "fate", "written_after_s")
        return {
            "target": str(self.target),
            "settings": self.settings,
            "versions": versions(),
            "totals": self.ledger.totals(),
            "receipt": None if self.receipt is None else self.receipt.report(),
            "frames": [
                dict(zip(keys, (i, pts, str(fate), round(s, 4)), strict=True))
                for i, pts, fate, s in self.ledger.rows
            ],
        }


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the result."""
    import av
    import numpy

    found = {"vdeblur": __version__, "python": platform.python_version(), "numpy": numpy.__version__}
    found |= {"av": av.__version__, "ffmpeg": str(av.ffmpeg_version_info)}
    for name in ("torch", "openvino"):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found
