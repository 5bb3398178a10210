"""Finished pictures of a run that was stopped are kept, and take their names all or none."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from jobs.resuming import StopError, interrupted_at, run
from video import media
from video.through import leftovers

from vdeblur.cli.main import main
from vdeblur.errors import InputError
from vdeblur.jobs import deblur, keeping_pictures
from vdeblur.jobs.journal import folder_of
from vdeblur.video.picture_files import write_png


def test_pictures_kept_in_part_promise_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have left the journal: there is nothing that the next run could go on from."""
    source, target = pictures(tmp_path), tmp_path / "sharp"
    monkeypatch.setattr(deblur, "_passed", interrupted_at(45))
    with pytest.raises(KeyboardInterrupt, match="45 frames done so far are kept") as stop:
        run(source, target, keep_partial=True, preset=None)
    assert not getattr(stop.value, "__notes__", [])
    assert len(contents(target)) == 45
    assert leftovers(tmp_path) == []


def test_one_damaged_picture_costs_itself_only(tmp_path: Path) -> None:
    """To take it away would be another source: all that is done would have to be done again."""
    source, target = pictures(tmp_path), tmp_path / "sharp"
    for bad in ("7", "45"):
        (source / f"{bad}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"/7\.png: .* --keep-partial does the others"):
        run(source, target, preset=None)
    with pytest.raises(StopError) as stop:
        run(source, target, stop_at=43, keep_partial=True, preset=None)
    assert "40 frames are done and kept" in stop.value.__notes__[0]
    result = run(source, target, keep_partial=True, preset=None)
    assert result.ledger.restored == 40
    left_out = [note for note in result.ledger.notes if note.endswith("left out")]
    assert [Path(note.partition(":")[0]).name for note in left_out] == ["7.png", "45.png"]
    assert sorted(contents(target)) == sorted(f"{n}.png" for n in range(50) if n not in (7, 45))
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_pictures_take_their_names_all_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, rename = pictures(tmp_path, 5), tmp_path / "sharp", os.replace

    def interrupted(part: Any, goal: Any) -> None:
        rename(part, goal)
        if Path(goal).parent == target:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, target, preset=None)
    assert len(contents(target)) == 5
    assert leftovers(tmp_path) == []


def test_pictures_that_could_not_be_looked_at_are_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    source, target = pictures(tmp_path, 25), tmp_path / "sharp"
    with pytest.raises(StopError):
        run(source, target, stop_at=24, preset=None)
    with monkeypatch.context() as patch:
        patch.setattr(keeping_pictures, "digest_of", fails)
        with pytest.raises(InputError, match=r"Input/output error\); try again"):
            run(source, target, preset=None)
    assert run(source, target, preset=None).ledger.restored == 20


def pictures(folder: Path, count: int = 50) -> Path:
    source = folder / "shots"
    source.mkdir()
    for number in range(count):
        frame = media.new_frame("rgb24", 24, 16, number)
        write_png(source / f"{number}.png", frame.to_ndarray(format="rgb24"))
    return source


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("harm", [False, True])
def test_pictures_that_are_done_are_not_done_again(exists: bool, harm: bool, tmp_path: Path) -> None:
    source, target = pictures(tmp_path), tmp_path / "sharp"
    if exists:
        target.mkdir()
    with pytest.raises(StopError):
        run(source, target, stop_at=45, preset=None)
    place = target / "pictures" if exists else target
    kept = folder_of(place)
    assert len(list((kept / "pictures").iterdir())) >= 40
    assert not list(target.glob("*.png"))
    if harm:
        (kept / "pictures" / "00000030.png").write_bytes(b"cut")
    if exists:
        assert main(["resume", str(tmp_path)]) == 0
    else:
        assert run(source, target, preset=None).ledger.restored == (20 if harm else 40)
    run(source, tmp_path / "whole", preset=None)
    assert contents(target) == contents(tmp_path / "whole")
    assert len(contents(target)) == 50
    assert leftovers(tmp_path) == []
