"""What will run weights on this machine, and why: device, precision, and whether int8 is one; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from vdeblur.engine.device import Choice, choose, has_int8, has_nncf
from vdeblur.errors import MissingRuntimeError, to_install
from vdeblur.weights import quantised
from vdeblur.weights.quantised import Quantised
from vdeblur.weights.store import WeightsRef


@dataclass(frozen=True, slots=True)
class Decision:
    """What will run weights on this machine.

    int8        the graph of these weights, where there is one
    why         of the precision, on a CPU
    notes       why it is not what could have been expected, one line each
    lacks_int8  with such a graph, which can be made here, precision auto might be int8
    """

    choice: Choice
    int8: Quantised | None
    why: str = ""
    notes: tuple[str, ...] = ()
    lacks_int8: bool = False


def decide(ref: WeightsRef, device: str, precision: str, backend: str) -> Decision:
    """What `Deblurrer.load` will do with weights; without torch where that is the processor.

    A choice of int8 without a graph means that one can be made (`jobs/quantising.py`). Raises InputError or
    MissingRuntimeError for what cannot be done.
    """
    found, reason = quantised.find(ref.path, ensemble=ref.ensemble)
    kept = 0.0 if found is None else found.facts.gain_kept
    good = kept >= quantised.LEAST_GAIN_KEPT
    choice = choose(device, precision, backend, leaves_torch=True, int8=good)
    if choice.backend != "openvino":
        why = "openvino is not installed" if choice.kind == "cpu" and backend == "auto" else ""
        return Decision(choice, None, why)
    if precision == "int8" and found is None and not has_nncf():
        reason = reason or f"there is no int8 graph of {ref.name}"
        raise MissingRuntimeError(
            f"--precision int8: {reason}, and making one needs nncf: {to_install('nncf')}"
        )
    if precision != "auto":
        return Decision(choice, found, "asked for")
    if choice.precision == "int8":
        return Decision(choice, found, f"it keeps {kept:.1%} of the gain of float32")
    if found is not None and not good:
        reason = f"int8 keeps {kept:.0%} of the gain of {ref.name}"
    if found is not None and good:
        return Decision(choice, found, "this processor is not known to have instructions for int8")
    if reason:
        return Decision(choice, found, reason, (f"{reason}: running in {choice.precision}",))
    lacks = has_nncf() and has_int8()
    hint = "; --precision int8 makes one, once, and so does a long video" if lacks else ""
    return Decision(choice, found, f"there is no int8 graph of {ref.name}{hint}", lacks_int8=lacks)
