"""What went wrong, as one line on stderr and an exit code; with --debug as a traceback."""

from __future__ import annotations

import sys
import traceback

from vdeblur.errors import VdeblurError, presentable, without_secrets

FAILURES = (VdeblurError, OSError, MemoryError, RuntimeError, ValueError)
"""What files, disks and libraries do to us; anything else is our own fault and shows its traceback."""


def complain(error: BaseException, *, debug: bool) -> int:
    """Say it; answers with the exit code."""
    if debug:
        text = without_secrets("".join(traceback.format_exception(error)))
    else:
        text = presentable(f"vdeblur: {_sentence(error)}")
    print(text, file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, VdeblurError) else 1


def _sentence(error: BaseException) -> str:
    """What is wrong, and what was added to the error on its way: how to go on."""
    if isinstance(error, KeyboardInterrupt):
        words = ["stopped", str(error)]
    elif isinstance(error, VdeblurError):
        words = [str(error)]
    else:
        words = [f"{_one_line(error)} (--debug shows where)"]
    return "; ".join([word for word in words if word] + getattr(error, "__notes__", []))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if not error.filename else f"{error.filename}: {error.strerror}"
    return text if len(text) < 300 else text[:297] + "..."
