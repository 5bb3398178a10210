"""How much of the host's memory this process may take: `--memory`.

One figure for the whole process, as memory is; set by the job before the engine opens, read wherever the
engine asks how much is free.  No torch here.
"""

from __future__ import annotations

import os
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
