"""The machine that figures belong to: processor, GPU with driver and clocks, versions of what computes."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from typing import Any

from vdeblur import __version__
from vdeblur.engine.device import choose, cpu_features, cpu_info, cpu_threads

PACKAGES = ("torch", "openvino", "nncf", "numpy", "av", "torch_tensorrt")
_GPU = {
    "name": "name",
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "most_clock_mhz": "clocks.max.sm",
    "memory_mib": "memory.total",
    "power_w": "power.draw",
    "most_power_w": "power.limit",
    "temperature_c": "temperature.gpu",
}


def describe(device: str) -> dict[str, Any]:
    """Plain values; what cannot be read is None. Clocks are those of the moment: ask right after work."""
    return {
        "system": platform.platform(),
        "processor": choose("cpu", "auto", "auto").name,
        "cores": cpu_threads(),
        "features": sorted(cpu_features()),
        "clock_mhz": _cpu_clock_mhz(),
        "gpu": _gpu(device) if device.startswith("cuda") else None,
        "versions": _versions(device),
        "threads_set": {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "MKL_", "KMP_"))},
    }


def _versions(device: str) -> dict[str, str]:
    found = {"vdeblur": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if device.startswith("cuda"):
        torch: Any = importlib.import_module("torch")
        found |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return found


def _gpu(device: str) -> dict[str, str | None]:
    """What nvidia-smi says of one device."""
    found: dict[str, str | None] = dict.fromkeys(_GPU)
    program = shutil.which("nvidia-smi")
    if program is None:
        return found
    torch: Any = importlib.import_module("torch")
    # Under CUDA_VISIBLE_DEVICES its number is another one there.
    name = f"--id=GPU-{torch.cuda.get_device_properties(device).uuid}"
    query = [name, f"--query-gpu={','.join(_GPU.values())}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([program, *query], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return found
    said = done.stdout.strip().split(", ")
    return dict(zip(_GPU, said, strict=True)) if len(said) == len(_GPU) else found


def _cpu_clock_mhz() -> float | None:
    """The mean over the cores, as Linux says."""
    clocks = [float(clock) for clock in cpu_info("cpu MHz")]
    return round(sum(clocks) / len(clocks), 1) if clocks else None
