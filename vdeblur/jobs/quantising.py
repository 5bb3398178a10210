"""A network made int8: pictures to calibrate on and pairs to judge by are synthesised, the graph is kept.

The pictures come from photographs: those of a folder, or the few that scikit-image brings, so that anybody
can make a graph again.  Pairs are made of other photographs than the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vdeblur.engine.decision import decide
from vdeblur.errors import InputError
from vdeblur.weights import quantised
from vdeblur.weights.arrays import load_arrays
from vdeblur.weights.store import WeightsRef

if TYPE_CHECKING:
    from vdeblur.data.drawings import Picture

PICTURES, PAIRS = 32, 48
SEED = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """A graph that was made, and its mean gain on the pairs beside that of float32."""

    graph: quantised.Quantised
    float32_db: float
    int8_db: float


def prepare(
    ref: WeightsRef,
    device: str,
    precision: str,
    backend: str,
    tell: Callable[[str], None],
    *,
    long: bool = False,
) -> None:
    """Make the graph that a run in int8 needs, where there is none; with precision auto for a `long` one.

    A long one goes on without it where it cannot be kept.
    """
    decision = decide(ref, device, precision, backend)
    asked = decision.choice.precision == "int8" and decision.int8 is None
    if asked or (long and decision.lacks_int8):
        try:
            judged = quantise(ref.path, ensemble=ref.ensemble, tell=tell)
        except InputError as error:
            if asked:
                raise
            tell(f"{error}: running in {decision.choice.precision}")
            return
        kept = judged.graph.facts.gain_kept
        tell(f"int8 keeps {kept:.0%} of the gain of {ref.name}, kept in {judged.graph.path}")


def quantise(
    weights: Path,
    *,
    ensemble: bool = False,
    photographs: Path | None = None,
    target: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Judged:
    """Make the int8 graph of a weights file; without a target it lies in the user's cache folder.

    Takes a minute or more, and needs openvino and nncf.
    """
    loaded = load_arrays(weights, ensemble=ensemble)
    path = target or quantised.cached(loaded.sha256, ensemble)
    quantised.make_folder(path)  # before the minutes that the graph takes
    import nncf
    import openvino

    from vdeblur.engine.openvino import bodies_of
    from vdeblur.engine.openvino_int8 import gains_db, quantised_body, serialised

    pictures, pairs = _material(photographs)
    tell(f"{weights.name}: making an int8 graph from {len(pictures)} pictures, once; a minute or more")
    body = quantised_body(loaded, pictures)
    xml, constants = serialised(body)
    exact = float(np.mean(gains_db(bodies_of(loaded, None).careful(), pairs)))
    coarse = float(np.mean(gains_db(body, pairs)))
    kept = coarse / exact if exact > 0.01 else 0.0  # weights that mend nothing have nothing to keep
    facts = quantised.Facts(
        weights_sha256=loaded.sha256,
        ensemble=ensemble,
        version=quantised.VERSION,
        gain_kept=round(kept, 4),
        pairs=len(pairs),
        made_with=f"nncf {nncf.__version__}, openvino {openvino.__version__.partition('-')[0]}",
    )
    return Judged(quantised.write(path, facts, xml, constants), exact, coarse)


def _material(folder: Path | None) -> tuple[list[Picture], list[tuple[Picture, Picture]]]:
    """Pictures as a decoder gives them (blurred, sharp, dark), and pairs from other photographs."""
    from vdeblur.data.material import load_photographs
    from vdeblur.data.synthesis import BlurSettings, make_pair

    if folder is None:
        shown, apart = _of_scikit_image()
    else:
        shown, apart = load_photographs(folder), load_photographs(folder, validation=True)
    rng = np.random.default_rng(SEED)
    pictures = []
    for number in range(PICTURES):
        pair = make_pair(rng, shown)
        picture = pair.sharp if number % 4 == 3 else pair.blurred
        pictures.append((picture * 0.25).astype(np.uint8) if number % 8 == 5 else picture)
    moving = BlurSettings(still=0.0, defocused=0.0)  # a pair without blur has no gain to keep
    pairs = [make_pair(rng, apart, moving) for _ in range(PAIRS)]
    return pictures, [(pair.blurred, pair.sharp) for pair in pairs]


def _of_scikit_image() -> tuple[list[Picture], list[Picture]]:
    from skimage import data

    def of(*names: str) -> list[Any]:
        return [np.ascontiguousarray(getattr(data, name)()[..., :3]) for name in names]

    return of("astronaut", "coffee", "hubble_deep_field"), of("chelsea", "rocket")
