"""How much memory is free: the machine's, within the container's limit and `--memory`; no torch for that.

`--memory` is one figure for the whole process, as memory is; set by the job before the engine opens.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_limit: int | None = None


def keep_within(limit_bytes: int | None) -> None:
    """From here on `left` counts down from this many bytes; None: no limit but the machine's."""
    global _limit
    _limit = limit_bytes


def left() -> int | None:
    """Bytes that may still be taken; None without a limit."""
    return None if _limit is None else max(0, _limit - resident())


def resident() -> int:
    """What the process takes now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_bytes(device: str = "cpu") -> int:
    """Memory that can be had now: what Linux calls available, within the container's limit and `--memory`."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    machine = _free_ram()
    allowed = left()
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
