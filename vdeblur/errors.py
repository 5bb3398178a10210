"""One family of errors; each is a single sentence for the person at the terminal.

VdeblurError                exit code 1: it failed although the request was sound
├── SuspectError            exit code 1: the result differs from its source and is kept under another name
└── InputError              exit code 2: the file, option or pair of them cannot work; nothing was written
    ├── TargetExistsError   the target is there already: skipped in a batch
    ├── BrokenSourceError   the source breaks off in the middle, says where
    └── MissingRuntimeError an optional part is not installed, says what to install

The sentence says what was found, with which file or option, and what to do.  Tracebacks
are shown with ``--debug`` only.  Ctrl-C is KeyboardInterrupt as ever (exit code 130).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

_LOGIN = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_SECRET = re.compile(r"(?i)([?&][\w.-]*(?:token|key|pass|pwd|secret|sig|auth|cred)[\w.-]*=)[^&#\s'\"]+")


def presentable(text: str) -> str:
    """Text fit for a terminal, a log or a report, wherever it came from.

    Control characters (of file names, tags, servers) become blanks; logins and keys in addresses ``***``.
    """
    plain = "".join(c if c.isprintable() else " " for c in text.encode("utf-8", "replace").decode())
    return without_secrets(plain)


def without_secrets(text: str) -> str:
    """Addresses in a text without the logins and keys that they carry."""
    return _SECRET.sub(r"\1***", _LOGIN.sub("***@", text)) if "://" in text else text


def to_install(what: str) -> str:
    """The command that installs packages where this program runs, whichever pip comes first in PATH."""
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(what)}"


class VdeblurError(Exception):
    """The work failed (disk full, encoder broke, device lost): exit code 1."""

    exit_code = 1


class SuspectError(VdeblurError):
    """The finished file lacks something of its source; ``result`` is what the run would have returned."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


class InputError(VdeblurError):
    """What was asked for cannot work; found before anything was written: exit code 2."""

    exit_code = 2


class TargetExistsError(InputError):
    """The target is there already and may not be replaced."""

    def __init__(self, target: Path) -> None:
        super().__init__(f"{target}: exists already; name another, or replace it with --overwrite")
        self.target = target


class BrokenSourceError(InputError):
    """The source is damaged or cut off; ``at_s`` is the last good time in seconds, where known."""

    def __init__(self, message: str, at_s: float | None = None) -> None:
        super().__init__(message)
        self.at_s = at_s


class MissingRuntimeError(InputError):
    """An optional library, device or encoder is not here; the message says how to get it."""
