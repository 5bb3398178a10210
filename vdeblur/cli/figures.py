"""The figures of a live run for people without a window: a table that is drawn anew, or plain lines.

Everything goes to stderr, as stdout may carry the stream.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vdeblur.errors import presentable

if TYPE_CHECKING:
    from vdeblur.jobs.live.live import LiveResult
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
        if self._live is not None:
            self._live.update(_table(status), refresh=True)
        else:
            self.tell("; ".join(f"{name} {value}" for name, value in rows(status)))

    def summary(self, result: LiveResult) -> None:
        self.tell(result.line())


def rows(status: Status) -> list[tuple[str, str]]:
    """The figures in words."""
    found = [
        ("captured", f"{status.captured_fps:.1f} fps"),
        ("shown", f"{status.shown_fps:.1f} fps"),
        ("age", f"{status.age_p50_s * 1000:.0f} ms (p50), {status.age_p95_s * 1000:.0f} ms (p95)"),
        ("dropped", f"{status.dropped} of {status.captured}"),
        ("network", f"{status.step}, strength {status.strength:g}"),
        ("device", status.device),
    ]
    if status.refused:
        found.append(("not corrected", f"{status.refused} of {status.shown} (refused by the guard)"))
    if status.recording is not None:
        found.append(("recording", str(status.recording)))
    if status.message:
        found.append(("now", status.message))
    return found


def _table(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in rows(status):
        table.add_row(Text(name, style="dim"), Text(presentable(value)))
    return table
