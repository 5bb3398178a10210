"""Where the network runs, in which precision and by which backend; and what this machine has.

What a plan asks (`check_choice`, `guess_kind`, `cpu_features`, `free_bytes("cpu")`) is answered without
importing torch; for GPUs `choose` imports it. What was asked for by name is given, or refused in one line.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from vdeblur.engine import budget
from vdeblur.errors import InputError, MissingRuntimeError, to_install

Kind = Literal["cpu", "cuda", "mps"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
BACKENDS = ("auto", "torch", "cuda", "openvino")
LEAST_CAPABILITY = (5, 0)
"""CUDA compute capability below which no current torch build has kernels (Maxwell, 2014)."""


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
    if kind == "cuda" or (backend == "cuda" and kind is None):
        _need_cuda(f"--device {device}" if kind == "cuda" else "--backend cuda")
    if kind == "mps" and not _has_mps():
        raise MissingRuntimeError("--device mps: needs a Mac with an Apple processor, use --device cpu")
    _check_half(precision, "cpu" if backend == "openvino" else guess_kind(device))


def guess_kind(device: str) -> Kind:
    """The kind of device that `choose` will take for this option, without importing torch."""
    kind = _asked_kind(device)
    if kind is not None:
        return kind
    if _why_no_cuda() is None:
        return "cuda"
    return "mps" if _has_mps() else "cpu"


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
    place, name, others = "cpu", _processor(), tuple[str, ...]()
    if kind == "cuda":
        try:
            (place, *rest), name = _cuda_devices(device)
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
        chosen = "fp16" if half_is_safe and _half_is_fast(place) else "fp32"
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


def free_bytes(device: str = "cpu") -> int:
    """Memory that can be had now: what Linux calls available, within the container's limit and `--memory`."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    machine = _free_ram()
    allowed = budget.left()
    return machine if allowed is None else min(machine, allowed)


def _free_ram() -> int:
    ram = _bytes_in("/proc/meminfo", r"^MemAvailable:\s*(\d+) kB", unit=1024)
    if ram is None:
        ram = _built_in_bytes() // 2
    limit = _bytes_in("/sys/fs/cgroup/memory.max", r"^(\d+)$")
    used = _bytes_in("/sys/fs/cgroup/memory.current", r"^(\d+)$")
    if limit is None or used is None:
        return ram
    # Pages of files read count as used although they give way.
    cached = _bytes_in("/sys/fs/cgroup/memory.stat", r"^inactive_file (\d+)$") or 0
    return max(0, min(ram, limit - used + cached))


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
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(wanted & set(flags.group(1).split())) if flags else frozenset()


def _asked_kind(device: str) -> Kind | None:
    """The kind a --device value names; None for auto."""
    if device == "auto":
        return None
    if device == "cpu":
        return "cpu"
    if device == "mps":
        return "mps"
    if re.fullmatch(r"cuda(:\d+)?", device):
        return "cuda"
    raise InputError(f"--device {device}: not known, choose auto, cpu, cuda, cuda:N or mps")


def _check_half(precision: str, kind: Kind) -> None:
    if precision == "fp16" and kind == "cpu":
        raise InputError(
            "--precision fp16: slow and coarse on a CPU, which is what would run; use bf16 or fp32 there"
        )


def _need_cuda(option: str) -> None:
    reason = _why_no_cuda()
    if reason is not None:
        raise MissingRuntimeError(f"{option}: {reason}; use --device cpu")


@cache
def _why_no_cuda() -> str | None:
    """Why no CUDA device can be used here, or None; asks the driver and torch's version file."""
    if not _torch_has_cuda():
        return "the installed torch has no CUDA in it, install a CUDA build from pytorch.org"
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver on this machine"
    count, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no device"
    device = ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # compute capability, CUDA driver API
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    if (major.value, minor.value) < LEAST_CAPABILITY:
        return f"compute capability {major.value}.{minor.value} is too old for the installed torch"
    return None


def _torch_has_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE) is not None


def _has_mps() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _cuda_devices(device: str) -> tuple[list[str], str]:
    """(torch's names, maker's name) of the CUDA devices asked for; refuses what torch has no kernels for.

    "cuda:N" is that one; "cuda" and "auto" are the first and all others of its make.
    """
    import torch

    index = int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available():
        raise MissingRuntimeError(f"--device {device}: torch cannot open the GPU, update its driver")
    count = torch.cuda.device_count()
    if index >= count:
        raise InputError(f"--device {device}: there are {count} CUDA devices, counted from 0")
    if not _has_kernels(torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()):
        major, minor = torch.cuda.get_device_capability(index)
        raise MissingRuntimeError(
            f"--device {device}: the installed torch has no kernels for compute capability {major}.{minor}; "
            "install another build from pytorch.org or use --device cpu"
        )
    reason = _why_closed(index)
    if reason is not None:
        raise MissingRuntimeError(f"--device {device}: the GPU does not open ({reason}); use --device cpu")
    name = torch.cuda.get_device_name(index)
    alone = ":" in device
    same = [n for n in range(count) if n == index or (not alone and torch.cuda.get_device_name(n) == name)]
    return [f"cuda:{n}" for n in same], name


def _why_closed(index: int) -> str | None:
    """What CUDA says where a device is full, another program's alone, or broken; else None."""
    import torch

    try:
        torch.zeros(1, device=f"cuda:{index}")
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None


def _half_is_fast(place: str) -> bool:
    """Not on GPUs before Volta (compute capability 7.0): most do a 64th of their float32 rate."""
    if not place.startswith("cuda"):
        return True
    import torch

    return torch.cuda.get_device_capability(place) >= (7, 0)


def _has_kernels(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether a build for these ("sm_80", "compute_90") runs: same major, not newer; PTX runs upwards."""
    for arch in built_for:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", arch)
        if found is None:
            continue
        built = int(found[2]), int(found[3])
        if found[1] == "compute" and built <= capability:
            return True
        if found[1] == "sm" and built[0] == capability[0] and built <= capability:
            return True
    return False


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _built_in_bytes() -> int:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30


def _bytes_in(path: str, pattern: str, unit: int = 1) -> int | None:
    """The number that a line of a small system file holds, in bytes; None where there is none."""
    try:
        found = re.search(pattern, Path(path).read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return int(found.group(1)) * unit if found else None
