"""What is said while something goes on: notes, estimates and a bar.

All of it goes to stderr.  What is not a terminal, or one that cannot move its cursor (TERM=dumb), gets plain
lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from vdeblur.cli.streams import fitted
from vdeblur.errors import presentable

if TYPE_CHECKING:
    from vdeblur.jobs.events import Event, Started
    from vdeblur.jobs.plan import Plan
    from vdeblur.jobs.result import Result

LONG_RUN_S = 600  # above this the faster network is named
PLAIN_LINE_S = 10  # between two lines of progress where there is no terminal
PARTS_OF_TIME = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))

_err = Console(stderr=True, highlight=False)


class Display:
    """Draws the events of one run: notes, the estimate, and a bar (or plain lines)."""

    def __init__(self, plan: Plan, *, quiet: bool) -> None:
        self._plan, self._quiet = plan, quiet
        self._bar: Progress | None = None
        self._last_line_s = time.monotonic()
        self._total: int | None = None
        self._words = ""

    def __enter__(self) -> Display:
        if not self._quiet:
            if self._plan.weights is not None and self._plan.options.quality != "balanced":
                _say(f"quality {self._plan.quality}")
            for note in self._plan.notes:
                _say(f"note: {note}")
            self._bar, self._task = bar(_err, _Rate(table_column=Column(no_wrap=True)), TimeRemainingColumn())
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: Event) -> None:
        """Called by any thread of the run."""
        from vdeblur.jobs import events

        if self._quiet:
            return
        if isinstance(event, events.Note):
            _say(f"note: {event.text}")
        elif isinstance(event, events.Started):
            self._start(event)
        elif isinstance(event, events.Waiting):
            if self._bar is not None:
                self._bar.update(self._task, description=event.text)
        elif self._bar is not None:
            self._bar.update(self._task, description=self._words, completed=event.frames)
        elif time.monotonic() - self._last_line_s > PLAIN_LINE_S:
            self._last_line_s = time.monotonic()
            _say(f"{event.frames} of {self._total or '?'} frames, at {event.time_s:.1f} s")

    def _start(self, event: Started) -> None:
        self._total = event.frames
        if self._bar is not None:
            self._words = f"{event.model} on {event.device}" if event.model != "none" else "copying frames"
            self._bar.reset(self._task, description=self._words, total=event.frames, completed=event.done)
        if event.s_per_frame is None:
            return
        line = f"{event.model} on {event.device}: about {1 / event.s_per_frame:.3g} frames/s"
        if event.frames:
            left = max(0, event.frames - event.done)
            whole_s = left * event.s_per_frame
            line += f", {span(whole_s)} for {_frames(left)}"
            if whole_s > LONG_RUN_S and event.model != "mimo-unet-tiny":
                line += " (--model mimo-unet-tiny is faster)"
        _say(line)


def bar(console: Console, *columns: ProgressColumn) -> tuple[Progress | None, TaskID]:
    """A bar with its one task, begun; none where nothing can be drawn."""
    if not console.is_interactive:
        return None, TaskID(0)
    begun = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None),
        *columns,
        console=console,
        transient=True,
    )
    begun.start()
    return begun, begun.add_task("opening", total=None)


class _Rate(ProgressColumn):
    """Frames done, of how many, and frames each second."""

    def render(self, task: Task) -> Text:
        total = f"/{task.total:.0f}" if task.total else ""
        rate = f"{task.speed:.1f}" if task.speed else "-"
        return Text(f"{task.completed:.0f}{total} frames  {rate} fps")


def summary(result: Result) -> None:
    """One line for a finished run, and one for every frame that was not plainly deblurred."""
    from vdeblur.frame import Fate  # numpy comes with it, and `weights list` needs none

    ledger = result.ledger
    took = span(ledger.wall_s)
    earlier = f" ({ledger.restored} of them earlier)" if ledger.restored else ""
    done = f"{_frames(ledger.frames)}{earlier} in {took}, {ledger.true_fps:.2f} frames/s in all"
    print(presentable(f"{result.target}: {done}"))
    if result.receipt is not None:
        print(presentable(result.receipt.line()))
    for fate in (Fate.SHARP, Fate.REDONE, Fate.REFUSED):
        if ledger.fates[fate]:
            _say(f"note: {_frames(ledger.fates[fate])} {fate}")


@contextmanager
def doing(first: str = "opening") -> Iterator[Callable[[str], None]]:
    """Says what is being done, one thing after the other; the first one only where it can be taken back."""
    with _err.status(Text(first)) if _err.is_interactive else nullcontext() as status:
        yield (lambda what: status.update(Text(presentable(what)))) if status is not None else _say


@contextmanager
def counting(what: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Counts to an end that may be unknown; call it with what is at work and how much is done."""
    last_s = time.monotonic()
    with doing() as say:

        def tell(name: str, done: int, expected: int | None) -> None:
            nonlocal last_s
            if _err.is_interactive or time.monotonic() - last_s > PLAIN_LINE_S:
                last_s = time.monotonic()
                say(f"{name}: {done} of {expected or '?'} {what}")

        yield tell


def _say(line: str) -> None:
    """To stderr, above the bar."""
    _err.print(Text(fitted(presentable(line), sys.stderr)), soft_wrap=True)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def span(seconds: float) -> str:
    """In its two largest parts: 2 d 3 h, 5 min 10 s; 13.4 s."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    rest, parts = round(seconds), list[str]()
    for unit, length in PARTS_OF_TIME:
        number, rest = divmod(rest, length)
        if number or parts:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])
