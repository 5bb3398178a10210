"""Memory that ran out: how that is told from other failures, and the smaller tiles that are tried next.

No torch here: networks on the processor run without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from vdeblur.engine import tiles
from vdeblur.errors import VdeblurError

T = TypeVar("T")
_WORDS = (
    "out of memory",
    "can't alloc",
    "not enough memory",
    "ALLOC_FAILED",
    "Failed to allocate",
    "bad_alloc",
)


def ran_out(error: BaseException) -> bool:
    """Whether this is what torch, CUDA, cuDNN, OpenVINO or numpy raise when memory is short."""
    if isinstance(error, MemoryError):
        return True
    named = type(error).__name__ == "OutOfMemoryError"  # torch's
    return isinstance(error, RuntimeError) and (named or any(word in str(error) for word in _WORDS))


def going_on(attempt: Callable[[], T], make_less: Callable[[], object]) -> T:
    """What `attempt` gives, tried again after `make_less` as often as memory runs out in it."""
    while True:
        try:
            return attempt()
        except Exception as error:
            if not ran_out(error):
                raise
        make_less()  # here: while the error is known it holds what the attempt has taken


def smaller(grid: tiles.Grid, multiple_of: int, reach: int, device: str) -> tiles.Grid:
    """The next smaller tiles of the same picture; VdeblurError where there are none."""
    found = tiles.smaller(grid, multiple_of, tiles.overlap_for(reach, multiple_of))
    if found is None:
        side = "x".join(str(size) for size in reversed(grid.tile))
        raise VdeblurError(
            f"out of memory on {device}, and tiles smaller than {side} make no sense: "
            "use a smaller network (--model) or close other programs"
        )
    return found


def note(grid: tiles.Grid) -> str:
    """What is said of it."""
    rows, columns = grid.tile
    return f"out of memory: going on in tiles of {columns}x{rows}"
