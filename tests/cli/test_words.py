"""Mistakes on the command line, each answered by one line that helps; help that fits the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdeblur.cli.main import _COMMANDS, main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a video to deblur (see `vdeblur --help`)"),
        (["here.mp4", "out.mp4"], "out.mp4: no such file; to name the result write -o out.mp4"),
        (
            ["here.mp4", "--modle", "x"],
            "--modle: no such option; did you mean --model? (see `vdeblur --help`)",
        ),
        (["here.mp4", "-quiet"], "-quiet: no such option; did you mean --quiet? (see `vdeblur --help`)"),
        (["here.mp4", "--zzz=1"], "--zzz: no such option (see `vdeblur --help`)"),
        (["here.mp4", "--strength", "50%"], "--strength: not a number: '50%' (see `vdeblur --help`)"),
        (["here.mp4", "--crf", "high"], "--crf: not a whole number: 'high' (see `vdeblur --help`)"),
        (["here.mp4", "--report"], "--report: give it a value (see `vdeblur --help`)"),
        (["info"], "missing: FILE (see `vdeblur info --help`)"),
        (["info", "a", "b"], "b: not expected here (see `vdeblur info --help`)"),
        (["inof", "here.mp4"], "inof: no such file or command; did you mean `vdeblur info`?"),
        (["verify", "folder", "here.mp4"], "folder: a folder; name one of its videos"),
        (["help", "nonsense"], "help nonsense: no such command; `vdeblur --help` lists them"),
        (["live", "folder"], "folder: live plays videos, cameras and streams; `vdeblur folder` deblurs"),
        (["live", "a.png"], "a.png: live plays videos, cameras and streams; `vdeblur a.png` deblurs"),
        (["live", "here.mp4", "--rate", "0"], "--rate 0: give pictures a second, above 0 and at most 1000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_helps(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("here.mp4", "a.png"):
        (tmp_path / name).touch()
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"vdeblur: {said}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("width", [50, 80])
@pytest.mark.parametrize("name", ["", *_COMMANDS, "data check", "data make-pairs", "weights import"])
def test_help_fits_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: vdeblur {name}".rstrip())
    body = lines[lines.index("") :]  # argparse never breaks the usage of a parser that states its own
    assert [line for line in body if len(line) > width and "/" not in line] == []
