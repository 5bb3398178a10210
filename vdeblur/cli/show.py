"""Results as people read them: words in columns, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vdeblur.cli.streams import fitted
from vdeblur.errors import presentable

if TYPE_CHECKING:
    from vdeblur.data.layouts import Survey
    from vdeblur.video.clip import Clip
    from vdeblur.video.receipt import Receipt
    from vdeblur.weights.catalogue import Row

MANY_CLIPS = 40  # above this a table has a line for each set of clips
FAULTS_SHOWN = 10


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Two columns of words."""
    width = max(len(name) for name, _ in rows)
    before = None
    for name, value in rows:
        _print(f"{'' if name == before else name:<{width}}  {value}", column=width + 2)
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
        words += [f'"{title}"'] if (title := stream.metadata.get("title")) else []
        words += ["cover picture"] if stream.is_cover else []
        words += ["<- this one is deblurred"] if stream.index == picture.index else []
        rows.append(("stream", " ".join(words)))
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
    if layout.alpha is not None:
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
    rows += [("tag", f"{key} = {value}") for key, value in found.tags.items()]
    rows += [("note", text) for text in found.warnings]
    if found.broken is not None:
        when = "" if found.broken_at_s is None else f" at {found.broken_at_s:.2f} s"
        rows.append(("damage", f"breaks off{when} ({found.broken})"))
    pairs(rows)


def receipt(found: Receipt) -> None:
    """What was kept, and a line for each thing that was not."""
    _print(found.line())
    for note in found.notes:
        _print(f"note: {note}")
    for fault in found.faults:
        _print(f"fault: {fault.line()}")


def weights(rows: Sequence[Row]) -> None:
    """The table of known weights; scores and origin stand below each, for they are sentences."""
    name = max(len(row.name) for row in rows)
    family = max(len(row.family) for row in rows)
    for row in rows:
        size = f"{row.parameters / 1e6:6.2f} M" if row.parameters else "       ?"
        here = "here    " if row.here else "not here"
        # Licence, scores and origin of what was imported are a stranger's words.
        _print(f"{row.name:<{name}}  {row.family:<{family}}  {size}  {here}  {row.licence}")
        _print(f"    scores: {row.scores}", column=12)
        _print(f"    from:   {row.page}", column=12)


def columns(lines: Sequence[tuple[str, ...]]) -> None:
    """A table with a head: words at the left, figures at the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print(presentable("  ".join([line[0].ljust(widths[0]), *cells[1:]])).rstrip())


def tables(found: Sequence[tuple[str, list[tuple[str, ...]]]]) -> None:
    """Tables with a title and a head each: ruled for a terminal, plain columns elsewhere."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console(highlight=False)
    for title, (head, *lines) in found:
        if not screen.is_terminal:
            print(f"{title}:")
            columns([head, *lines] if any(head) else lines)
            continue
        drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_header=any(head))
        for number, name in enumerate(head):
            words = number == 0 or (number == len(head) - 1 and not name)
            drawn.add_column(Text(name), justify="left" if words else "right")
        for line in lines:
            drawn.add_row(*(Text(presentable(cell)) for cell in line))
        screen.print(drawn)


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
        [(name, "  ".join(cells).rstrip()) for name, *cells in lines]
        + [("all", f"{total:>6} pairs  in {len(found.clips)} clips")]
        + [("note", note) for note in found.notes]
        + [("fault", fault) for fault in found.faults[:FAULTS_SHOWN]]
    )


def _print(line: str, column: int = 0) -> None:
    print(fitted(presentable(line), sys.stdout, column))


def _tag(number: int) -> str:
    return "not stated" if number == 2 else str(number)
