"""The figures of a live run for people without a window: lines that are drawn anew, or one by one.

Everything goes to stderr, as stdout may carry the stream.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from vdeblur.errors import presentable

if TYPE_CHECKING:
    from vdeblur.jobs.live.view import Status

DRAW_S, LINE_S = 0.25, 5.0


class Figures:
    """`watch` and `tell` of a live run; a context manager. Without `figures` it only says messages."""

    def __init__(self, *, figures: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._figures = figures
        self._last_s = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Figures:
        if self._figures and self._console.is_interactive:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, text: str) -> None:
        self._console.print(Text(presentable(text)), soft_wrap=True)

    def watch(self, status: Status) -> None:
        if not self._figures:
            return
        now = time.monotonic()
        if now - self._last_s < (DRAW_S if self._live is not None else LINE_S):
            return
        self._last_s = now
        lines = [*status.lines(), *([status.message] if status.message else [])]
        if self._live is not None:
            self._live.update(Text("\n".join(map(presentable, lines))), refresh=True)
        else:
            self.tell("; ".join(lines))
