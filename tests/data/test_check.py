"""`vdeblur data check`: a table of what is there, the faults, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from data import trees

from vdeblur.cli.main import main


def test_table_of_a_sound_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = trees.gopro(tmp_path / "GOPRO_Large")
    assert main(["data", "check", str(root), "--blur", "blur"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["test/GOPR0384_11_00", "3", "pairs", "24x16"]
    assert out[-1].split() == ["all", "6", "pairs", "in", "2", "clips"]
    assert main(["data", "check", str(root)]) == 2
    assert "choose one: --blur blur or --blur blur_gamma" in capsys.readouterr().err


def test_many_clips_are_counted_by_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = trees.reds(tmp_path, clips=25, frames=1)
    assert main(["data", "check", str(root)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["train", "25", "pairs", "24x16", "25", "clips"]


def test_faults_are_listed_and_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = trees.reds(tmp_path, ["val"], clips=1)
    (root / "val/val_sharp/000/00000002.png").write_bytes(b"nonsense")
    trees.picture(root / "val/val_sharp/000/00000001.png", size=(16, 26))
    assert main(["data", "check", str(root)]) == 2
    text = capsys.readouterr()
    assert "has 26x16" in text.out
    assert "00000002.png: not a picture" in text.out
    assert "faults found: 2, the first: " in text.err
    assert len(text.err.splitlines()) == 1
