"""What is drawn while a run goes on, on terminals of any width and kind."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from video import media

from vdeblur.cli import progress
from vdeblur.cli.main import main
from vdeblur.cli.streams import fitted
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Options, make_plan

PLAN: Any = SimpleNamespace(notes=(), weights=None)


def drawn(monkeypatch: pytest.MonkeyPatch, **console: Any) -> str:
    """All that a run of 2100 frames says, of which 1200 are done."""
    out = io.StringIO()
    monkeypatch.setattr(progress, "_err", Console(file=out, force_terminal=True, highlight=False, **console))
    monkeypatch.setattr(progress, "PLAIN_LINE_S", -1)
    with progress.Display(PLAN, quiet=False) as display:
        display.tell(deblur.Started("mimo-unet-small", "cpu", 2100, None))
        display.tell(deblur.Waiting("finding the place in the source"))
        display.tell(deblur.Progress(1200, 40.0))
    return out.getvalue()


@pytest.mark.parametrize("width", [120, 80, 60, 40, 25])
def test_the_bar_is_one_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    last = drawn(monkeypatch, width=width, _environ={"TERM": "xterm"}).rpartition("mimo-unet")[2]
    assert last.count("\n") == 1


def test_what_takes_long_without_a_frame_is_named(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    events: list[deblur.Event] = []
    deblur.run(make_plan(str(made.path), None, Options(strength=0.0)), events.append)
    assert events[-1] == deblur.Waiting("finishing the file")


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    said = drawn(monkeypatch, _environ={"TERM": "dumb"})
    assert said == "1200 of 2100 frames, at 40.0 s\n"


def test_info_tells_that_a_file_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.write_clip(tmp_path / "a.mkv", frames=30)
    for length, damaged in ((None, False), (-200, True)):
        made.path.write_bytes(made.path.read_bytes()[:length])
        assert main(["info", str(made.path)]) == 0
        assert ("\ndamage" in capsys.readouterr().out) == damaged


def test_lines_end_between_words_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "note      the result --which is long-- lies in /a/path/that/fits/into/no/line/at/all, whole"
    assert fitted(text, sys.stdout, 10) == text
    monkeypatch.setattr("os.get_terminal_size", lambda number: os.terminal_size((40, 24)))
    lines = fitted(text, sys.__stdout__, 10).splitlines()
    assert [line[:10].strip() for line in lines] == ["note", *[""] * (len(lines) - 1)]
    assert " ".join(line[10:] for line in lines) == text[10:]
    assert [line for line in lines if len(line) > 40] == [line for line in lines if "/" in line]
