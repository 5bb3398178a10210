"""Everything that is printed for people, and the only file that knows rich.

Progress and messages go to stderr, results to stdout.  What is not a terminal, or one that cannot move its
cursor (TERM=dumb), gets plain lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from vdeblur.errors import presentable

if TYPE_CHECKING:
    from vdeblur.data.layouts import Survey
    from vdeblur.jobs.deblur import Event, Result
    from vdeblur.jobs.plan import Plan
    from vdeblur.measure.doctor import Report
    from vdeblur.video.clip import Clip
    from vdeblur.video.receipt import Receipt
    from vdeblur.weights.catalogue import Row

LONG_RUN_S = 600  # above this the faster network is named
PLAIN_LINE_S = 10  # between two lines of progress where there is no terminal
MANY_CLIPS = 40  # above this a table has a line for each set of clips
FAULTS_SHOWN = 10

_err = Console(stderr=True, highlight=False)
_out = Console(highlight=False)


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
            if _err.is_interactive:
                self._bar = Progress(
                    SpinnerColumn(),
                    TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
                    BarColumn(bar_width=None),
                    _Rate(table_column=Column(no_wrap=True)),
                    TimeRemainingColumn(),
                    console=_err,
                    transient=True,
                )
                self._bar.start()
                self._task = self._bar.add_task("opening", total=None)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: Event) -> None:
        """Called by any thread of the run."""
        from vdeblur.jobs import deblur

        if self._quiet:
            return
        if isinstance(event, deblur.Note):
            _say(f"note: {event.text}")
        elif isinstance(event, deblur.Started):
            self._start(event)
        elif isinstance(event, deblur.Waiting):
            if self._bar is not None:
                self._bar.update(self._task, description=event.text)
        elif self._bar is not None:
            self._bar.update(self._task, description=self._words, completed=event.frames)
        elif time.monotonic() - self._last_line_s > PLAIN_LINE_S:
            self._last_line_s = time.monotonic()
            _say(f"{event.frames} of {self._total or '?'} frames, at {event.time_s:.1f} s")

    def _start(self, event: deblur.Started) -> None:  # type: ignore[name-defined]  # noqa: F821
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
            line += f", {_span(whole_s)} for {_frames(left)}"
            if whole_s > LONG_RUN_S and event.model != "mimo-unet-tiny":
                line += " (--model mimo-unet-tiny is faster)"
        _say(line)


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
    took = _span(ledger.wall_s)
    earlier = f" ({ledger.restored} of them earlier)" if ledger.restored else ""
    done = f"{_frames(ledger.frames)}{earlier} in {took}, {ledger.true_fps:.2f} fps true"
    print(presentable(f"{result.target}: {done}"))
    if result.receipt is not None:
        print(presentable(result.receipt.line()))
    for fate in (Fate.SHARP, Fate.REDONE, Fate.REFUSED):
        if ledger.fates[fate]:
            _say(f"note: {_frames(ledger.fates[fate])} {fate}")


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns of words."""
    width = max(len(name) for name, _ in rows)
    before = None
    for name, value in rows:
        print(presentable(f"{'' if name == before else name:<{width}}  {value}"))
        before = name


def clip(found: Clip) -> None:
    """What a file holds."""
    picture, layout = found.picture, found.picture.layout
    rows = [("file", found.source), ("container", found.container)]
    if found.pictures:
        rows.append(("pictures", str(len(found.pictures))))
    for stream in found.streams:
        words = [f"{stream.index}: {stream.kind} {stream.codec or stream.codec_tag or 'unknown'}"]
        words += [f"[{stream.language}]"] if stream.language else []
        words += [f'"{stream.title}"'] if stream.title else []
        words += ["cover picture"] if stream.is_cover else []
        words += ["<- this one is deblurred"] if stream.index == picture.index else []
        rows.append(("stream", presentable(" ".join(words))))
    rate, seconds = picture.rate, picture.duration_from_header_s
    colour = picture.colour
    rows += [
        ("size", f"{layout.width}x{layout.height}"),
        ("format", f"{picture.pix_fmt} ({layout.depth} bit, {layout.range} range, matrix {layout.matrix})"),
        (
            "colour tags",
            f"primaries {_tag(colour.primaries)}, transfer {_tag(colour.transfer)}, "
            f"matrix {_tag(colour.matrix)} (H.273)",
        ),
        ("rate in header", "none" if rate is None else f"{rate} = {float(rate):.6g} frames/s"),
        ("frames in header", "none" if not picture.frames_from_header else str(picture.frames_from_header)),
        ("length in header", "none" if seconds is None else f"{seconds:.3f} s"),
        ("time base", str(picture.time_base)),
        ("first pts", str(picture.first_pts)),
    ]
    if picture.has_alpha:
        rows.append(("alpha", "kept as it is"))
    if picture.rotation:
        rows.append(("rotation", f"{picture.rotation} degrees (kept, not applied)"))
    if picture.sample_aspect_ratio not in (None, 1):
        rows.append(("sample aspect", str(picture.sample_aspect_ratio)))
    if picture.interlaced:
        rows.append(
            ("interlaced", {2: "top field first", 3: "bottom field first"}.get(picture.field_order, "yes"))
        )
    hdr = [
        name
        for name, data in (("mastering display", picture.hdr.mastering), ("light level", picture.hdr.light))
        if data
    ]
    if hdr or picture.hdr.dynamic:
        rows.append(("HDR data", ", ".join([*hdr, *picture.hdr.dynamic])))
    if found.chapters:
        rows.append(("chapters", str(found.chapters)))
    rows += [("tag", presentable(f"{key} = {value}")) for key, value in found.tags.items()]
    rows += [("note", text) for text in found.warnings]
    if found.broken is not None:
        when = "" if found.broken_at_s is None else f" at {found.broken_at_s:.2f} s"
        rows.append(("damage", f"breaks off{when} ({found.broken})"))
    pairs(rows)


def receipt(found: Receipt) -> None:
    """What was kept, and a line for each thing that was not."""
    print(presentable(found.line()))
    for note in found.notes:
        print(presentable(f"note: {note}"))
    for fault in found.faults:
        print(presentable(f"fault: {fault.line()}"))


def weights(rows: Sequence[Row]) -> None:
    """The table of known weights; scores and origin stand below each, for they are sentences."""
    name = max(len(row.name) for row in rows)
    family = max(len(row.family) for row in rows)
    for row in rows:
        size = f"{row.parameters / 1e6:6.2f} M" if row.parameters else "       ?"
        here = "here    " if row.here else "not here"
        # Licence, scores and origin of what was imported are a stranger's words.
        print(presentable(f"{row.name:<{name}}  {row.family:<{family}}  {size}  {here}  {row.licence}"))
        print(presentable(f"    scores: {row.scores}"))
        print(presentable(f"    from:   {row.page}"))


def doctor(report: Report) -> None:
    """Every check and what came of it."""
    pairs(report.describe())


def columns(lines: Sequence[tuple[str, ...]]) -> None:
    """A table with a head: words at the left, figures at the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print(presentable("  ".join([line[0].ljust(widths[0]), *cells[1:]])).rstrip())


def tables(found: Sequence[tuple[str, list[tuple[str, ...]]]]) -> None:
    """Tables with a title and a head each: ruled for a terminal, plain columns elsewhere."""
    for title, (head, *lines) in found:
        if not _out.is_terminal:
            print(f"{title}:")
            columns([head, *lines] if any(head) else lines)
            continue
        drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_header=any(head))
        for number, name in enumerate(head):
            words = number == 0 or (number == len(head) - 1 and not name)
            drawn.add_column(Text(name), justify="left" if words else "right")
        for line in lines:
            drawn.add_row(*(Text(presentable(cell)) for cell in line))
        _out.print(drawn)


@contextmanager
def doing() -> Iterator[Callable[[str], None]]:
    """Says what is being done, one thing after the other."""
    with _err.status(Text("opening")) if _err.is_interactive else nullcontext() as status:
        yield (lambda what: status.update(Text(what))) if status is not None else _say


def survey(found: Survey) -> None:
    """A line for each clip (of each set, where there are many), remarks, and the first faults."""
    rows: dict[str, tuple[int, int, set[str]]] = {}
    for clip in found.clips:
        name = clip.name if len(found.clips) <= MANY_CLIPS else clip.name.rpartition("/")[0]
        clips, frames, sizes = rows.get(name, (0, 0, set()))
        if clip.name in found.sizes:
            height, width = found.sizes[clip.name]
            sizes = sizes | {f"{width}x{height}"}
        rows[name] = clips + 1, frames + len(clip.frames), sizes
    total = sum(frames for _, frames, _ in rows.values())
    lines = [
        (name, f"{frames:>6} pairs", ", ".join(sorted(sizes)) or "?", f"{clips} clips" if clips > 1 else "")
        for name, (clips, frames, sizes) in rows.items()
    ]
    pairs(
        [(presentable(name), "  ".join(cells).rstrip()) for name, *cells in lines]
        + [("all", f"{total:>6} pairs  in {len(found.clips)} clips")]
        + [("note", presentable(note)) for note in found.notes]
        + [("fault", presentable(fault)) for fault in found.faults[:FAULTS_SHOWN]]
    )


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A word while something long happens."""
    if _err.is_interactive:
        with _err.status(Text(what)):
            yield
    else:
        yield


@contextmanager
def counting(what: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Counts to an end that may be unknown; call it with what is at work and how much is done."""
    last_s = time.monotonic()
    with _err.status(Text("opening")) if _err.is_interactive else nullcontext() as status:

        def tell(name: str, done: int, expected: int | None) -> None:
            nonlocal last_s
            line = presentable(f"{name}: {done} of {expected or '?'} {what}")
            if status is not None:
                status.update(Text(line))
            elif time.monotonic() - last_s > PLAIN_LINE_S:
                last_s = time.monotonic()
                _say(line)

        yield tell


def _say(line: str) -> None:
    """To stderr, above the bar, never broken into several lines by us."""
    _err.print(Text(presentable(line)), soft_wrap=True)


def _tag(number: int) -> str:
    return "not stated" if number == 2 else str(number)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
