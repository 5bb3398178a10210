"""`python -m vdeblur` and the `vdeblur` command begin here: Ctrl-C is answered in one line from the start."""

from __future__ import annotations

import sys
from typing import NoReturn


def command() -> NoReturn:
    try:
        from vdeblur.cli.main import command as run
    except KeyboardInterrupt:
        print("vdeblur: stopped", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    command()
