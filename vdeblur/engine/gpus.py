"""Which GPUs torch can really use here, and why not: `why_no_cuda` and `has_mps` know it without torch."""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import re
import sys
from functools import cache
from pathlib import Path

from vdeblur.errors import InputError, MissingRuntimeError

LEAST_CAPABILITY = (5, 0)
"""CUDA compute capability below which no current torch build has kernels (Maxwell, 2014)."""


@cache
def why_no_cuda() -> str | None:
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


def has_mps() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def cuda_devices(device: str) -> tuple[list[str], str]:
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
    if not has_kernels(torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()):
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


def half_is_fast(place: str) -> bool:
    """Not on GPUs before Volta (compute capability 7.0): most do a 64th of their float32 rate."""
    if not place.startswith("cuda"):
        return True
    import torch

    return torch.cuda.get_device_capability(place) >= (7, 0)


def has_kernels(capability: tuple[int, int], built_for: list[str]) -> bool:
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
