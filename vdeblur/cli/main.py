"""The `vdeblur` command: words in, exit code out.

`vdeblur FILE` deblurs; other commands are words.  Everything heavy is imported by the command that
needs it, so that help, plans and errors come at once.  Exit codes: 0 done, 1 failed, 2 the request
cannot work, 130 Ctrl-C.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from vdeblur.cli.complaints import FAILURES, complain
from vdeblur.cli.deblur import deblur, resume
from vdeblur.cli.files import info, verify
from vdeblur.cli.live import live
from vdeblur.cli.machine import bench, demo, doctor
from vdeblur.cli.pairs import data, evaluate
from vdeblur.cli.streams import prepare
from vdeblur.cli.weights import weights
from vdeblur.errors import InputError


def _train(words: list[str]) -> int:
    from vdeblur.cli.train import train  # with rich, which takes its time

    return train(words)


_COMMANDS = {
    "info": info,
    "verify": verify,
    "resume": resume,
    "data": data,
    "eval": evaluate,
    "train": _train,
    "live": live,
    "demo": demo,
    "doctor": doctor,
    "bench": bench,
    "weights": weights,
}


def command() -> NoReturn:
    """The `vdeblur` program: `main`, and the end of the process."""
    prepare()
    code = main()
    if any(thread.is_alive() and thread.daemon for thread in threading.enumerate()):
        # One is stuck in a library, as in a camera that does not answer. Python would pull the floor from
        # under it, which can crash; everything else is closed by now.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and prints at most one line of error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    # Threads of the network that spin while they wait cost a factor of ten on a busy machine
    # (docs/engine.md); read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with suppress(ValueError):  # not the main thread: a test or a notebook calls us
        signal.signal(signal.SIGTERM, _terminate)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # no nohup
            signal.signal(signal.SIGHUP, _terminate)  # the terminal was closed
    try:
        code = _run(words)
        if sys.stdout is not None:  # it may have been closed by whoever started us
            sys.stdout.flush()  # now, while it can still be answered for
        return code
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is wrong and nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*FAILURES, KeyboardInterrupt) as error:
        return complain(error, debug=debug)


def _run(words: list[str]) -> int:
    if words and words[0] in _COMMANDS:
        return _COMMANDS[words[0]](words[1:])
    if words[:1] == ["help"] and not Path("help").exists():
        if words[1:] and words[1] not in _COMMANDS:
            raise InputError(f"help {words[1]}: no such command; `vdeblur --help` lists them")
        return _COMMANDS[words[1]]([*words[2:], "--help"]) if words[1:] else deblur(["--help"])
    _refuse_slip(words)
    return deblur(words[1:] if words[:1] == ["deblur"] else words)


def _refuse_slip(words: list[str]) -> None:
    """A first word that is no file and nearly a command."""
    if not words or words[0].startswith("-") or Path(words[0]).exists():
        return
    near = difflib.get_close_matches(words[0], [*_COMMANDS, "deblur"], 1, 0.75)
    if near and near[0] != words[0]:
        raise InputError(f"{words[0]}: no such file or command; did you mean `vdeblur {near[0]}`?")


def _terminate(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    command()
