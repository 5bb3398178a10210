"""An evaluation as a table in words, as CSV and as plain values for JSON; `page` makes the HTML.

A file is written beside its target and renamed.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError, VdeblurError
from vdeblur.measure.rows import MEASURES, ClipRow, Evaluation, Means

HEAD = ("clip", "frames", "PSNR in", "out", "gain", "worst", "SSIM in", "out", "bright in", "out", "sharp")
HEAD_TAIL = ("flicker in", "out", "fps")
_HEAD_OF_TWO = {
    "PSNR in": "PSNR",
    "SSIM in": "SSIM",
    "bright in": "bright",
    "sharp": "second",
    "flicker in": "flicker",
}
_MEASURES = (
    ("psnr_input_db", ".2f"),
    ("psnr_result_db", ".2f"),
    ("gain_db", "+.3f"),
    ("worst", "+.3f"),
    ("ssim_input", ".4f"),
    ("ssim_result", ".4f"),
    ("brightness_input", ".2f"),
    ("brightness_result", ".2f"),
    ("brightness_sharp", ".2f"),
)


def table(found: Evaluation) -> list[tuple[str, ...]]:
    """The head, a line for each clip, and the means, as words; columns that say nothing are left out."""
    head: tuple[str, ...] = (*HEAD, *HEAD_TAIL)
    if "model" not in found.settings:
        head = tuple(_HEAD_OF_TWO.get(word, word) for word in head)
    lines: list[tuple[str, ...]] = [head]
    lines += [_clip_line(clip, "model" in found.settings) for clip in found.clips]
    if len(found.clips) > 1:
        worst = found.worst_clip
        least = None if worst is None else worst.means["gain_db"]
        sets = found.by_set()
        if len(sets) > 1:
            for name, means in sets.items():
                lines.append((f"mean of {name or 'the rest'}", "", *_cells(means, None), "", "", ""))
            lines.append(("mean of all sets", "", *_cells(found.over_sets(), None), "", "", ""))
        lines.append(("mean of clips", "", *_cells(found.over_clips(), least), "", "", ""))
    frame = found.worst_frame
    total = str(len(found.rows))
    lines.append(
        (
            "mean of frames",
            total,
            *_cells(found.over_frames(), None if frame is None else frame.gain_db),
            "",
            "",
            _number(found.engine_fps, ".2f"),
        )
    )
    used = [column for column in range(len(lines[0])) if any(line[column] for line in lines[1:])]
    return [tuple(line[column] for column in used) for line in lines]


def remarks(found: Evaluation) -> list[tuple[str, str]]:
    """What stands below the table: the worst, what ran, and how long it took."""
    lines: list[tuple[str, str]] = []
    clip, frame = found.worst_clip, found.worst_frame
    if clip is not None and frame is not None:
        least = clip.means["gain_db"]
        lines.append(("worst clip", f"{clip.clip}: gain {_number(least, '+.3f')} dB"))
        lines.append(("worst frame", f"{frame.clip}, frame {frame.number}: gain {frame.gain_db:+.3f} dB"))
    settings = found.settings
    if "model" in settings:
        lines.append(
            (
                "network",
                f"{settings['model']} on {settings['device_name']}, {settings['precision']}, "
                f"strength {settings['strength']:g}",
            )
        )
    if found.engine_fps is not None:
        beside = sum(found.seconds.get(stage, 0.0) for stage in ("read", "score", "flicker", "pictures"))
        share = beside / (beside + found.seconds["engine"])
        lines.append(
            (
                "speed",
                f"{found.engine_fps:.2f} frames/s true, through the engine (picture in memory to picture "
                f"in memory, warm-up excluded); {share:.0%} of the time went into reading and scoring",
            )
        )
    return lines + [("note", text) for text in found.notes]


def definitions(found: Evaluation) -> list[tuple[str, str]]:
    """What the figures mean."""
    return [("definitions", text) for text in found.protocol.describe()]


def values(found: Evaluation) -> dict[str, Any]:
    """Plain values for JSON: settings, versions, definitions, means, clips and frames."""
    clip, frame = found.worst_clip, found.worst_frame
    return {
        "protocol": found.protocol.name,
        "data_range": found.protocol.data_range,
        "definitions": found.protocol.describe(),
        "settings": found.settings,
        "versions": found.versions,
        "seconds": found.seconds,
        "engine_fps": found.engine_fps,
        "notes": list(found.notes),
        "mean_of_frames": found.over_frames(),
        "mean_of_clips": found.over_clips(),
        "mean_of_all_sets": found.over_sets(),
        "mean_of_sets": found.by_set(),
        "worst_clip": None if clip is None else {"clip": clip.clip, "gain_db": clip.means["gain_db"]},
        "worst_frame": None
        if frame is None
        else {"clip": frame.clip, "number": frame.number, "gain_db": frame.gain_db},
        "clips": [
            {
                "clip": clip.clip,
                "frames": clip.frames,
                "width": clip.size[1],
                "height": clip.size[0],
                **clip.means,
                "worst_gain_db": clip.worst_gain_db,
                "flicker_index_input": None if clip.flicker is None else clip.flicker.input_index,
                "flicker_index": None if clip.flicker is None else clip.flicker.index,
                "flicker_result": None if clip.flicker is None else clip.flicker.result,
                "flicker_reference": None if clip.flicker is None else clip.flicker.reference,
                "engine_fps": clip.engine_fps,
            }
            for clip in found.clips
        ],
        "frames": [
            {
                "clip": row.clip,
                "number": row.number,
                **row.measures(),
                "engine_s": row.engine_s,
                "fate": row.fate,
            }
            for row in found.rows
        ],
    }


def csv_text(found: Evaluation) -> str:
    """A line for each frame; protocol and data range stand in every line, so that they cannot get lost."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "number", *MEASURES, "engine_s", "fate", "protocol", "data_range"))
    for row in found.rows:
        tail = (row.engine_s, row.fate, found.protocol.name, found.protocol.data_range)
        writer.writerow((row.clip, row.number, *row.measures().values(), *tail))
    return text.getvalue()


def check_target(path: Path, option: str, *others: Path) -> None:
    """Refuse a report that could not be written, or would take the place of one of `others` (InputError).

    To be asked before anything is measured.
    """
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: cannot be written there")
    for other in others:
        if path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other)):
            raise InputError(f"{option} {path}: is {other} already; give the report a name of its own")


def write(path: Path, text: str, option: str) -> None:
    """Whole or not at all; what is no text in a file's name (bytes that are not UTF-8) as `\\udcff`."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(path)
    except OSError as error:
        raise VdeblurError(f"{option} {path}: cannot be written ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)


def json_text(found: Evaluation) -> str:
    return json.dumps(values(found), indent=1, default=str, allow_nan=False) + "\n"


def _clip_line(clip: ClipRow, deblurred: bool) -> tuple[str, ...]:
    flicker = clip.flicker
    indices = (None, None) if flicker is None else (flicker.input_index, flicker.index)
    unsteady = [_number(index, ".2f") for index in (indices if deblurred else (indices[0], None))]
    cells = _cells(clip.means, clip.worst_gain_db)
    return clip.clip, str(clip.frames), *cells, *unsteady, _number(clip.engine_fps, ".2f")


def _cells(means: Means, worst: float | None) -> Sequence[str]:
    return [_number(worst if name == "worst" else means[name], form) for name, form in _MEASURES]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
