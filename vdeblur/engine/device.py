"""Where the network runs, in which precision and by which backend; and what this machine has.

What a plan asks (`check_choice`, `guess_kind`, `cpu_features`) is answered without importing torch; for GPUs
`choose` imports it. What was asked for by name is given, or refused in one line.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from vdeblur.engine import gpus
from vdeblur.errors import InputError, MissingRuntimeError, to_install

Kind = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
BACKENDS = ("auto", "torch", "cuda", "openvino")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided: device, precision and backend as they are really used.

    device     torch's name of it, "cpu", "cuda:0", "mps"
    name       the maker's name of the device
    notes      decisions that the person did not ask for, one line each
    others     torch's names of further devices of the same kind that share the work
    """

    device: str
    kind: Kind
    name: str
    precision: Precision
    backend: str
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def check_choice(device: str, precision: str, backend: str) -> None:
    """Refuse values and combinations that cannot work on any machine, and what is not built yet; no torch.

    Raises InputError (or MissingRuntimeError, where something can be installed) with the option's name.
    """
    kind = _asked_kind(device)
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}: not known, choose one of {', '.join(PRECISIONS)}")
    if backend not in BACKENDS:
        raise InputError(f"--backend {backend}: not known, choose one of {', '.join(BACKENDS)}")
    if backend == "openvino" or precision == "int8":
        asked = f"--backend {backend}" if backend == "openvino" else f"--precision {precision}"
        if kind not in (None, "cpu"):
            raise InputError(f"{asked} runs on CPUs only, not on --device {device}")
        if backend not in ("auto", "openvino"):
            raise InputError(f"{asked} needs --backend openvino, not {backend}")
        if not has_openvino():
            raise MissingRuntimeError(f"{asked}: needs openvino: {to_install('vdeblur[openvino]')}")
    if backend == "cuda" and kind not in (None, "cuda"):
        raise InputError(f"--backend cuda runs on NVIDIA devices only, not on --device {device}")
    needs_cuda = kind == "cuda" or (backend == "cuda" and kind is None)
    if needs_cuda and (reason := gpus.why_no_cuda()) is not None:
        option = f"--device {device}" if kind == "cuda" else "--backend cuda"
        raise MissingRuntimeError(f"{option}: {reason}; use --device cpu")
    if kind == "mps" and not gpus.has_mps():
        raise MissingRuntimeError("--device mps: needs a Mac with an Apple processor, use --device cpu")
    _check_half(precision, "cpu" if backend == "openvino" else guess_kind(device))


def guess_kind(device: str) -> Kind:
    """The kind of device that `choose` will take for this option, without importing torch."""
    kind = _asked_kind(device)
    if kind is not None:
        return kind
    if gpus.why_no_cuda() is None:
        return "cuda"
    return "mps" if gpus.has_mps() else "cpu"


def choose(
    device: str,
    precision: str,
    backend: str,
    *,
    half_is_safe: bool = True,
    leaves_torch: bool = False,
    int8: bool = False,
) -> Choice:
    """Decide for this machine and a network.

    leaves_torch   backend auto may be OpenVINO: the network is known by its weights, not only as a module
    int8           there is a graph in int8 of it that keeps enough of the gain

    Precision auto: float16 on a GPU where the network allows it, else float32; on a CPU int8 with OpenVINO
    where there is such a graph and the processor has instructions for it, else bfloat16 products where the
    processor has them, else float32. `docs/engine.md` and `docs/speed.md` have the measured reasons;
    everything but the convolutions stays float32.
    """
    check_choice(device, precision, backend)
    notes: list[str] = []
    on_cpu = precision == "int8" or backend == "openvino"
    asked = "cuda" if backend == "cuda" else "cpu" if on_cpu else "auto"
    kind = guess_kind(asked if device == "auto" else device)
    processor = next(iter(cpu_info("model name")), platform.processor() or platform.machine())
    place, name, others = "cpu", processor, tuple[str, ...]()
    if kind == "cuda":
        try:
            (place, *rest), name = gpus.cuda_devices(device)
            others = tuple(rest)
        except MissingRuntimeError as error:
            if (device, backend) != ("auto", "auto"):
                raise
            kind = "cpu"
            notes.append(f"{error}: running on the CPU")
    elif kind == "mps":
        place, name = "mps", "Apple GPU"
    _check_half(precision, kind)  # once more: auto may have found a GPU that torch cannot use
    openvino = kind == "cpu" and (on_cpu or (backend == "auto" and leaves_torch and has_openvino()))
    chosen: Precision
    if precision != "auto":
        chosen = precision  # type: ignore[assignment]  # one of them: check_choice has seen it
        if precision == "bf16" and kind == "cpu" and not has_bfloat16():
            notes.append("--precision bf16: this processor has no bfloat16 products, float32 may be faster")
        if precision == "fp16" and not half_is_safe:
            notes.append(
                "--precision fp16: this network is not safe in half precision; doubtful frames are redone"
            )
    elif kind == "cpu":
        chosen = "bf16" if has_bfloat16() else "fp32"
        if openvino and int8 and has_int8():
            chosen = "int8"
    else:
        chosen = "fp16" if half_is_safe and gpus.half_is_fast(place) else "fp32"
    runtime = "openvino" if openvino else "cuda" if kind == "cuda" and backend != "torch" else "torch"
    return Choice(place, kind, name, chosen, runtime, tuple(notes), others)


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    return bool(cpu_features() & {"avx512_bf16", "amx_bf16"})


def has_int8() -> bool:
    """Whether this processor has instructions for products in int8."""
    return bool(cpu_features() & {"avx512_vnni", "avx_vnni", "amx_int8"})


def has_openvino() -> bool:
    """Whether the optional extra is installed; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


def has_nncf() -> bool:
    """Whether networks can be made int8 here."""
    return importlib.util.find_spec("nncf") is not None


def cpu_threads() -> int:
    """Processors this process may use, within the container's share."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


@cache
def cpu_features() -> frozenset[str]:
    """Of avx2, avx_vnni, avx512_vnni, avx512_bf16, amx_bf16, amx_int8: what Linux says this processor has."""
    wanted = {"avx2", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
    return frozenset(wanted & set(" ".join(cpu_info("flags")[:1]).split()))


def cpu_info(name: str) -> list[str]:
    """What Linux says under this name, once for each core; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return re.findall(rf"^{name}\s*: *(.*)$", text, re.MULTILINE)


def _asked_kind(device: str) -> Kind | None:
    """The kind a --device value names; None for auto."""
    kinds: dict[str, Kind | None] = {"auto": None, "cpu": "cpu", "mps": "mps", "cuda": "cuda"}
    found = re.fullmatch(r"auto|cpu|mps|(cuda)(:\d+)?", device)
    if found is None:
        raise InputError(f"--device {device}: not known, choose auto, cpu, cuda, cuda:N or mps")
    return kinds[found[1] or device]


def _check_half(precision: str, kind: Kind) -> None:
    if precision == "fp16" and kind == "cpu":
        raise InputError(
            "--precision fp16: slow and coarse on a CPU, which is what would run; use bf16 or fp32 there"
        )
