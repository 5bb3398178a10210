"""What `--quality` stands for on this machine: tables from a word, and a kind of device, to what runs.

Only what was not asked for by name is filled in. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from vdeblur.engine.device import Kind, guess_kind, has_bfloat16
from vdeblur.errors import InputError
from vdeblur.weights import catalogue

if TYPE_CHECKING:
    from vdeblur.jobs.plan import Options

Quality = Literal["fast", "balanced", "best"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)


@dataclass(frozen=True, slots=True)
class Row:
    """What a quality runs.

    model       auto: the best that is here
    precision   auto: the fastest that keeps the gain; bf16: float32 where a processor has no products of it
    ensemble    the mean over four rotations, four times the work
    skip_sharp  frames of this sharpness and more pass as they are; 0: none
    why         for people
    """

    model: str
    precision: str
    ensemble: bool
    skip_sharp: float
    why: str


_SMALL = "mimo-unet-tiny"
_BALANCED = "the best network there is, in the fastest precision that holds"
_BEST = "four rotations of every frame averaged: a little more gain for four times the work"

# docs/speed.md has the figures and the commands; those of GPUs are reckoned, not measured.
TABLE: dict[Quality, Row] = {
    # tiny takes a third of small's time in int8; looking at a frame takes 2 ms, skipping costs below 0.05 dB
    "fast": Row(_SMALL, "auto", False, 1.0, "a third of the work, and none on sharp frames"),
    # no option at all
    "balanced": Row("auto", "auto", False, 0.0, _BALANCED),
    # float16 is within 0.02 dB of float32 by its gate, and where it is not safe auto does not take it
    "best": Row("auto", "auto", True, 0.0, _BEST),
}
OTHERWISE: dict[tuple[Quality, Kind], Row] = {
    # there the network takes less than the 2 ms in which the processor would find out that it is not needed
    ("fast", "cuda"): Row(_SMALL, "auto", False, 0.0, "a third of the work"),
    # the ensemble gains 0.10 to 0.13 dB on the real pairs; int8 would lose 0.02 to 0.03 of it, bfloat16 0.006
    ("best", "cpu"): Row("auto", "bf16", True, 0.0, f"{_BEST}, and no int8"),
}


def filled(quality: str, network: dict[str, Any], *, live: bool = False) -> dict[str, Any]:
    """Model and precision in place of what was left to `auto`; the rest as it is.

    `network`: model, weights, device, precision, backend, ... Live pictures have no time for the ensemble,
    and choose among networks themselves where none is named. Raises InputError for words not known.
    """
    row = _row(quality, network)
    chosen = dict(network)
    if network["precision"] == "auto":
        chosen["precision"] = "fp32" if row.precision == "bf16" and not has_bfloat16() else row.precision
    if network["model"] == "auto" and network["weights"] is None:
        chosen["model"] = row.model
        if row.ensemble and not live:
            chosen["model"] = catalogue.best_available(_kind(network)) + catalogue.ENSEMBLE
    return chosen


def skip_sharp(options: Options) -> float:
    """From which sharpness on frames pass; 0: none."""
    row = _row(options.quality, options.engine())
    return row.skip_sharp if options.skip_sharp is None else options.skip_sharp


def reason(options: Options) -> str:
    """Why these options, once filled in, are what they are: the row's reason, or what was asked for."""
    network = options.engine()
    row = _row(options.quality, network)
    left = {"model": "auto", "weights": None, "precision": "auto", "device": _kind(network)}
    wanted = filled(options.quality, network | left)
    asked = [f"--{name}" for name in ("model", "precision") if network[name] != wanted[name]]
    if options.weights is not None:
        asked = ["--weights", *(name for name in asked if name != "--model")]
    if skip_sharp(options) != row.skip_sharp:
        asked.append("--skip-sharp")
    return f"but {' and '.join(asked)} as asked for" if asked else row.why


def _row(quality: str, network: dict[str, Any]) -> Row:
    for known in QUALITIES:
        if quality == known:
            return OTHERWISE.get((known, _kind(network)), TABLE[known])
    raise InputError(f"--quality {quality}: not known, choose one of {', '.join(QUALITIES)}")


def _kind(network: dict[str, Any]) -> Kind:
    on_cpu = network["backend"] == "openvino" or network["precision"] == "int8"
    return guess_kind("cpu" if on_cpu and network["device"] == "auto" else network["device"])
