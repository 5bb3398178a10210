"""An evaluation as one HTML file that needs nothing else: no network, no other file.

Figures, a before/after slider for the chosen frames, a curve for each clip, settings and versions.  Its own
policy forbids it to load anything; every word that comes from a file's name is escaped.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from html import escape

from vdeblur.measure import report, shots
from vdeblur.measure.rows import Evaluation, FrameRow, Shot

MOST_BYTES = 4_200_000  # of all pictures, as text in the page
_WIDTH, _HEIGHT, _LEFT = 640, 150, 52  # of a curve; room for the numbers at its left

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1280px;padding:0 1em;color:#222;
background:#fff}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:.2em .7em;text-align:right;white-space:nowrap;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}
tr.mean{background:#f4f4f4}
.shots{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0 0 1em}
.pair{position:relative;line-height:0;overflow:hidden;--at:50%}
.pair img{display:block;max-width:100%;height:auto}
.pair img.after{position:absolute;inset:0;width:100%;height:100%;clip-path:inset(0 0 0 var(--at))}
.pair::after{content:"";position:absolute;top:0;bottom:0;left:var(--at);width:2px;margin-left:-1px;
background:#fff;box-shadow:0 0 3px #000;pointer-events:none}
.pair input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize;
appearance:none}
.pair input::-webkit-slider-thumb{appearance:none;width:2px;height:100%}
.pair input::-moz-range-thumb{width:2px;height:100%;border:0}
.pair:focus-within{outline:2px solid #1769aa}
.before-line{stroke:#999}.after-line{stroke:#1769aa}polyline{fill:none;stroke-width:1.6}
svg text{font-size:11px;fill:#555}dt{font-weight:600}dd{margin:0 0 .4em 1em}
"""
_SCRIPT = """
for (const slider of document.querySelectorAll(".pair input"))
  slider.addEventListener("input", () => slider.parentElement.style.setProperty("--at", slider.value + "%"));
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(found: Evaluation) -> str:
    """The whole file."""
    title = f"vdeblur eval {found.settings['data']}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _table(report.table(found), len(found.clips)),
        _facts(report.remarks(found)),
        _shots(found),
        _curves(found.rows),
        "<h2>What the figures mean</h2>",
        _facts(report.definitions(found)),
        "<h2>Settings and versions</h2>",
        _facts([(key, str(value)) for key, value in {**found.settings, **found.versions}.items()]),
        f"<script>{_SCRIPT}</script></body></html>\n",
    ]
    return "\n".join(parts)


def _table(lines: Sequence[tuple[str, ...]], clips: int) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in lines[0])
    body = []
    for number, line in enumerate(lines[1:]):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in line)
        kind = ' class="mean"' if number >= clips else ""
        body.append(f"<tr{kind}>{cells}</tr>")
    return f"<table><tr>{head}</tr>\n" + "\n".join(body) + "</table>"


def _facts(lines: Sequence[tuple[str, str]]) -> str:
    parts, before = [], None
    for name, text in lines:
        parts.append((f"<dt>{escape(name)}</dt>" if name != before else "") + f"<dd>{escape(text)}</dd>")
        before = name
    return "<dl>" + "\n".join(parts) + "</dl>"


def _shots(found: Evaluation) -> str:
    if not found.shots:
        return ""
    sides = ("blurred input", "result") if "model" in found.settings else ("first", "second")
    rows = {(row.clip, row.number): row for row in found.rows}
    most = MOST_BYTES * 3 // 4 // (2 * len(found.shots))
    figures = [_figure(shot, rows[shot.clip, shot.number], most) for shot in found.shots]
    words = f"Left of the line: {sides[0]}; right of it: {sides[1]}. Drag it, or use the arrow keys."
    return f'<h2>Before and after</h2><p>{words}</p><div class="shots">' + "\n".join(figures) + "</div>"


def _figure(shot: Shot, row: FrameRow, most_bytes: int) -> str:
    (before, (width, height)), (after, _) = (
        shots.shrunk(side, most_bytes) for side in (shot.before, shot.after)
    )
    figures = [f"{shot.clip}, frame {shot.number} ({shot.label})"]
    if row.gain_db is not None:
        figures.append(f"{row.psnr_input_db:.2f} to {row.psnr_result_db:.2f} dB, gain {row.gain_db:+.3f} dB")
    elif row.psnr_input_db is not None:
        figures.append(f"{row.psnr_input_db:.2f} dB")
    words = escape(": ".join(figures))
    return (
        f'<figure><div class="pair" style="max-width:{width}px">'
        f'<img class="before" alt="before" width="{width}" height="{height}" src="{_source(before)}">'
        f'<img class="after" alt="after" src="{_source(after)}">'
        f'<input type="range" min="0" max="100" step="0.1" value="50" aria-label="{words}"></div>'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _source(picture: bytes) -> str:
    return "data:image/jpeg;base64," + b64encode(picture).decode("ascii")


def _curves(rows: Sequence[FrameRow]) -> str:
    """PSNR over the frames of each clip; brightness where there is no sharp side."""
    clips: dict[str, list[FrameRow]] = defaultdict(list)
    for row in rows:
        clips[row.clip].append(row)
    parts = []
    for name, own in clips.items():
        psnr = own[0].psnr_input_db is not None
        before = [row.psnr_input_db if psnr else row.brightness_input for row in own]
        after = [row.psnr_result_db if psnr else row.brightness_result for row in own]
        unit = "PSNR, dB" if psnr else "brightness, 1/255"
        if len(own) > 1:
            parts.append(
                f"<h3>{escape(name)}</h3>" + _curve([row.number for row in own], before, after, unit)
            )
    if not parts:
        return ""
    return "<h2>Frame by frame</h2><p>Grey: input. Blue: result.</p>" + "\n".join(parts)


def _curve(
    numbers: Sequence[int], before: Sequence[float | None], after: Sequence[float | None], unit: str
) -> str:
    shown = [value for value in (*before, *after) if value is not None]
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    first, last = numbers[0], numbers[-1]

    def line(kind: str, values: Sequence[float | None]) -> str:
        points = " ".join(
            f"{_LEFT + (number - first) / (last - first or 1) * (_WIDTH - _LEFT - 8):.1f},"
            f"{8 + (high - value) / span * (_HEIGHT - 34):.1f}"
            for number, value in zip(numbers, values, strict=True)
            if value is not None
        )
        return f'<polyline class="{kind}-line" points="{points}"/>' if points else ""

    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{unit}">'
        f'<text x="0" y="14">{high:.2f}</text><text x="0" y="{_HEIGHT - 24}">{low:.2f}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">frame {first}</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">frame {last} ({unit})</text>'
        f"{line('before', before)}{line('after', after)}</svg>"
    )
