"""Several sources: which are taken, where results go, and that none takes the place of another."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video import media

from vdeblur.cli.main import main
from vdeblur.jobs import deblur
from vdeblur.jobs.plan import Plan
from vdeblur.video.picture_files import write_png

ZERO = ("--strength", "0")


def run(*words: str | Path) -> int:
    return main([*map(str, words), *ZERO])


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((32, 48, 3), 90, np.uint8))
    return path


def test_a_source_that_would_replace_anothers_result_fails_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        media.write_clip(tmp_path / name / "a.mp4", frames=3)
    words = (tmp_path / "x/a.mp4", tmp_path / "y/a.mp4", "-o", tmp_path / "out")
    for tally in ("1 done, 0 there already, 1 failed", "0 done, 1 there already, 1 failed"):
        assert run(*words) == 1
        said = capsys.readouterr().err
        assert tally in said
        assert "y/a.mp4: would replace" in said


def test_results_inside_the_source_folder_are_no_sources(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=3)
    for _ in range(2):
        assert run(tmp_path, "-o", tmp_path / "sharp") == 0
        assert files(tmp_path) == ["a.mp4", "sharp/a.mp4"]


def test_all_videos_of_a_folder_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`vdeblur *.mp4`: the second time the shell names the first one's results as well."""
    for name in ("a.mp4", "b.c.mp4"):
        media.write_clip(tmp_path / name, frames=3)
    for tally in ("2 done, 0 there already, 0 failed", "0 done, 2 there already, 0 failed"):
        assert run(*sorted(tmp_path.iterdir())) == 0
        assert tally in capsys.readouterr().err
    assert run(tmp_path / "a.deblurred.mp4") == 0  # asked for by name
    assert files(tmp_path) == [
        *("a.deblurred.deblurred.mp4", "a.deblurred.mp4", "a.mp4", "b.c.deblurred.mp4", "b.c.mp4")
    ]


def test_waste_bins_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / "in" / ".Trash-1000").mkdir(parents=True)
    media.write_clip(tmp_path / "in" / ".Trash-1000" / "b.mp4", frames=3)
    picture(tmp_path / "in" / "p.png")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0  # a folder of pictures
    media.write_clip(tmp_path / "in" / "a.mp4", frames=3)
    assert run(tmp_path / "in", "-o", tmp_path / "videos") == 0
    assert files(tmp_path / "videos") == ["a.mp4"]


def test_links_to_folders_elsewhere_are_followed_once(tmp_path: Path) -> None:
    for place in ("in/day", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        media.write_clip(tmp_path / place / "a.mp4", frames=3)
    for link, place in (("disk", "elsewhere"), ("today", "in/day"), ("day/up", "in")):
        (tmp_path / "in" / link).symlink_to(tmp_path / place)
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["day/a.mp4", "disk/a.mp4"]


def test_a_tree_of_pictures_is_told_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x", "y"):
        picture(tmp_path / "in" / name / "p.png")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 2
    assert f"name these, such as {tmp_path / 'in' / 'x'}" in capsys.readouterr().err
    assert run(tmp_path / "in" / "x", tmp_path / "in" / "y", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["x/p.png", "y/p.png"]


def test_one_file_goes_into_a_folder_that_is_there(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=3)
    (tmp_path / "out").mkdir()
    assert run(tmp_path / "a.mp4", "-o", tmp_path / "out") == 0
    deblur.deblur_file(tmp_path / "a.mp4", tmp_path / "out", strength=0, codec="ffv1")
    assert files(tmp_path / "out") == ["a.mkv", "a.mp4"]


def test_several_files_do_not_go_into_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mp4", "b.mp4"):
        media.write_clip(tmp_path / name, frames=3)
    assert run(tmp_path / "a.mp4", tmp_path / "b.mp4", "-o", tmp_path / "out.mp4") == 2
    assert "must be a folder" in capsys.readouterr().err
    assert files(tmp_path) == ["a.mp4", "b.mp4"]


def test_hidden_files_and_covers_do_not_stand_in_the_way(tmp_path: Path) -> None:
    source = tmp_path / "in"
    picture(source / "cover.png")
    media.write_clip(source / "film.ts", frames=3)
    (source / "._film.ts").write_bytes(b"what a Mac leaves behind")
    assert run(source, "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["film.ts"]


def test_pictures_of_one_name_are_not_written_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x", "y"):
        picture(tmp_path / name / "p.png")
    assert run(tmp_path / "*" / "p.png", "-o", tmp_path / "out") == 2
    assert "both would be written to" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pictures_do_not_become_a_folder_with_the_name_of_a_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "in" / "p.png")
    assert run(tmp_path / "in", "-o", tmp_path / "film.mp4") == 2
    assert "pictures become pictures and no video" in capsys.readouterr().err
    assert files(tmp_path) == ["in/p.png"]


def test_a_pattern_among_others_gets_a_folder_with_a_name(tmp_path: Path) -> None:
    picture(tmp_path / "shots" / "p.png")
    media.write_clip(tmp_path / "a.mp4", frames=3)
    assert run(tmp_path / "a.mp4", tmp_path / "shots" / "*.png", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a.mp4", "shots/p.png"]


@pytest.mark.parametrize(
    "words", [("--crf", "999"), ("--preset", "slow"), ("--deinterlace",), ("--video-stream", "1")]
)
def test_pictures_refuse_what_is_for_videos(words: tuple[str, ...], tmp_path: Path) -> None:
    picture(tmp_path / "in" / "p.png")
    assert run(tmp_path / "in", "-o", tmp_path / "out", *words) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("debug", [False, True])
def test_what_fails_does_not_keep_the_rest_from_being_done(
    debug: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = deblur.run

    def falls_over(plan: Plan, *more: Any) -> Any:
        if Path(plan.clip.source).stem == "n":
            raise OSError(5, "Input/output error")
        return whole(plan, *more)

    monkeypatch.setattr(deblur, "run", falls_over)
    (tmp_path / "in").mkdir()
    for name in "anz":
        media.write_clip(tmp_path / "in" / f"{name}.mp4", frames=3)
    words = (tmp_path / "in", "-o", tmp_path / "out", *(("--debug",) if debug else ()))
    stamps = []
    for tally in ("2 done, 0 there already, 1 failed", "0 done, 2 there already, 1 failed"):
        assert run(*words) == 1
        said = capsys.readouterr().err
        assert tally in said
        assert ("Traceback" in said) == debug
        stamps.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()})
    assert stamps[0] == stamps[1]


def test_a_report_takes_nobodys_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.write_clip(tmp_path / "a.mp4", frames=3)
    data = made.path.read_bytes()
    for report in ("a.mp4", "out.mp4", "nowhere/r.json"):
        assert run(made.path, "-o", tmp_path / "out.mp4", "--report", tmp_path / report) == 2
        assert "--report" in capsys.readouterr().err
    assert made.path.read_bytes() == data
    assert files(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    "words", [("",), ("a.mp4", ""), ("a.mp4", "-o", ""), ("resume", "")], ids=lambda words: " ".join(words)
)
def test_a_variable_that_was_not_set_is_not_the_current_folder(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=3)
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == 2
    assert "is empty; name a file or a folder" in capsys.readouterr().err
    assert files(tmp_path) == ["a.mp4"]


def test_help_on_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["help", "verify"])
    assert "usage: vdeblur verify" in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["", "p*.png"])
def test_results_beside_pictures_are_no_sources(pattern: str, tmp_path: Path) -> None:
    for name in ("p1.png", "p2.png", "p1.deblurred.png", "p2.preview.png"):
        picture(tmp_path / "in" / name)
    assert run(tmp_path / "in" / pattern, "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["p1.png", "p2.png"]
    assert run(tmp_path / "in" / "p1.deb*.png", "-o", tmp_path / "again") == 0  # asked for by name
    assert files(tmp_path / "again") == ["p1.deblurred.png"]


def test_a_folder_that_may_not_be_read_fails_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "tree" / "closed"
    closed.mkdir(parents=True)
    media.write_clip(tmp_path / "tree" / "a.mp4", frames=2)

    def refusing(known: Any) -> Any:
        def listed(path: Any = ".") -> Any:
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return known(path)

        return listed

    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr(os, "listdir", refusing(os.listdir))
    words = [str(tmp_path / "tree"), "-o", str(tmp_path / "out"), "--strength", "0", "--preset", "ultrafast"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "1 done, 0 there already, 1 failed" in said
    assert f"vdeblur: {closed}: " in said
    assert main(["resume", str(tmp_path)]) == 2
    assert f"vdeblur: {closed}: cannot be read" in capsys.readouterr().err
