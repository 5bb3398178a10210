"""Reports say the same figures in every form; the page needs nothing else, and its slider slides."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import re
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data import trees
from measure.browser import chromium
from PIL import Image
from video import media

from vdeblur.cli.main import main
from vdeblur.measure import page, report, rows
from vdeblur.measure.flicker import FlickerScore
from vdeblur.measure.rows import ClipRow, Evaluation, FrameRow, Shot

EVIL = 'a/<img src=x onerror="alert(1)">&\'"'


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (120, 200)) -> bytes:
    return coded(np.full((*size, 3), colour, np.uint8))


def coded(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def frame(clip: str, number: int, before: float = 25.0, after: float = 27.0) -> FrameRow:
    return FrameRow(clip, number, before, after, 0.8, 0.85, 100.0, 101.0, 101.5, 0.5, "deblurred")


def evaluation(own: dict[str, list[FrameRow]], shots: tuple[Shot, ...] = ()) -> Evaluation:
    clips = [
        ClipRow(
            name,
            len(frames),
            (120, 200),
            rows.mean_of_rows(frames),
            min(row.gain_db or 0.0 for row in frames),
            FlickerScore(1.1, 1.2, 1.0, 2),
            2.0,
        )
        for name, frames in own.items()
    ]
    settings = {"data": EVIL, "model": "m", "device_name": "cpu", "precision": "fp32", "strength": 1.0}
    return Evaluation(
        protocol=rows.PROTOCOLS["deepdeblur"],
        rows=tuple(row for frames in own.values() for row in frames),
        clips=tuple(clips),
        shots=shots,
        settings=settings,
        versions={"vdeblur": "0"},
        seconds={"wall": 9.0, "engine": 5.0},
        notes=(),
    )


@pytest.fixture
def found() -> Evaluation:
    return evaluation(
        {
            "x/one": [frame("x/one", 3), frame("x/one", 4, after=25.5)],
            "x/two": [frame("x/two", 0, after=29.0)],
            EVIL: [frame(EVIL, 0, after=24.0), frame(EVIL, 1)],
        },
        (
            Shot("x/one", 3, "best", plain((255, 0, 0)), plain((0, 0, 255))),
            Shot(EVIL, 0, "worst", plain((9, 9, 9)), plain((200, 200, 200))),
        ),
    )


def test_table_has_clips_sets_means_and_the_worst(found: Evaluation) -> None:
    table = {line[0]: line for line in report.table(found)}
    assert table["clip"][:5] == ("clip", "frames", "PSNR in", "out", "gain")
    assert table["x/one"][2:6] == ("25.00", "26.25", "+1.250", "+0.500")
    assert table["clip"][-3:] == ("flicker in", "out", "fps")
    assert table["x/one"][-3:] == ("1.10", "1.20", "2.00")
    assert table["mean of x"][4] == "+2.625"  # of two clips, whatever their lengths
    assert table["mean of all sets"][4] == f"{(2.625 + 0.5) / 2:+.3f}"  # of x and of the evil one's
    assert table["mean of frames"][4:6] == ("+1.500", "-1.000")
    assert table["mean of clips"][4:6] == (f"{(1.25 + 4 + 0.5) / 3:+.3f}", "+0.500")
    words = dict(report.remarks(found))
    assert words["worst frame"] == f"{EVIL}, frame 0: gain -1.000 dB"
    assert words["speed"].startswith("2.00 frames/s true")
    assert any("data range 255" in text for _, text in report.definitions(found))


def test_csv_and_json_hold_every_frame(found: Evaluation) -> None:
    lines = list(csv.DictReader(StringIO(report.csv_text(found))))
    assert [line["clip"] for line in lines] == ["x/one", "x/one", "x/two", EVIL, EVIL]
    assert {line["data_range"] for line in lines} == {"255"}
    values = json.loads(report.json_text(found))
    assert [row["gain_db"] for row in values["frames"]] == [2.0, 0.5, 4.0, -1.0, 2.0]
    assert values["worst_clip"] == {"clip": EVIL, "gain_db": 0.5}
    assert values["clips"][0]["flicker_index"] == pytest.approx(1.2)
    assert values["settings"]["model"] == "m"


def test_the_page_is_alone_and_escapes_names(found: Evaluation) -> None:
    text = page.page(found)
    assert "<img src=x" not in text
    assert "alert(1)&quot;&gt;" in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("data:image", ""))
    assert "default-src 'none'" in text
    assert text.count("<svg") == 2  # a clip of one frame has no curve
    assert text.count("<figure>") == 2


def test_ten_clips_stay_under_5_mb() -> None:
    rng = np.random.default_rng(1)
    noise = coded(rng.integers(0, 256, (270, 480, 3)).astype(np.uint8))  # the worst that JPEG can be given
    own = {f"c{n}": [frame(f"c{n}", i) for i in range(100)] for n in range(10)}
    shots = tuple(Shot(f"c{n}", i, "best", noise, noise) for n in range(10) for i in range(3))
    assert len(noise) * 60 > 5_000_000
    assert len(page.page(evaluation(own, shots))) < 5_000_000


def test_dragging_the_slider_moves_the_border_between_the_pictures(found: Evaluation, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    report.write(target, page.page(found), "--html")
    with chromium(tmp_path) as browser:
        browser.open(target)
        left, top, width, height = browser.run(
            "const pair = document.querySelector('.pair'); pair.scrollIntoView({block: 'center'});"
            "const box = pair.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]"
        )
        assert (width, height) == (200, 120)
        place = 0.5
        for goal in (0.25, 0.8):
            browser.drag((left + place * width, top + height / 2), (left + goal * width, top + height / 2))
            place = goal
            seen = browser.picture(".pair").astype(int)
            border = round(goal * seen.shape[1])
            # Its first and last line may be shared with the page: the box may lie between two of its lines.
            red, blue = seen[1:-1, 4 : border - 6], seen[1:-1, border + 6 : -4]
            assert (red[..., 0] > 200).all(), goal
            assert (red[..., 2] < 60).all(), goal
            assert (blue[..., 2] > 200).all(), goal
            assert (blue[..., 0] < 60).all(), goal
        # No picture but the inline ones was asked for, and no script of a name ran.
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
        assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0


def test_command_writes_all_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        media.write_clip(tmp_path / f"{name}.mp4", frames=4)
    words = ["eval", str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]
    files = [tmp_path / f"r.{name}" for name in ("csv", "json", "html")]
    for file in files:
        words += [f"--{file.suffix[1:]}", str(file)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "100.00" in out
    assert "data range 255" in out
    assert len(files[0].read_text(encoding="utf-8").splitlines()) == 5
    assert json.loads(files[1].read_text(encoding="utf-8"))["mean_of_frames"]["gain_db"] is None
    assert "Left of the line: first; right of it: second" in files[2].read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "r.csv", "r.html", "r.json"]


def test_reports_that_cannot_be_written_are_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(tmp_path / "x"), "--csv", str(tmp_path / "no/r.csv")]) == 2
    assert "--csv" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "x")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    trees.gopro(tmp_path / "g")
    assert main(["eval", str(tmp_path / "g")]) == 2
    assert "--blur blur or --blur blur_gamma" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--input", "mine.mp4", "--json", "mine.mp4"],
        ["bench", "--weights", "mine.mp4", "--json", "mine.mp4"],
        ["eval", "other.mp4", "--weights", "mine.mp4", "--csv", "mine.mp4"],
    ],
)
def test_no_report_takes_the_place_of_what_is_measured(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(b"mine")
    assert main(words) == 2
    assert "is mine.mp4 already; give the report a name of its own" in capsys.readouterr().err
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


def test_what_was_measured_is_shown_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    media.write_clip(tmp_path / "a.mp4", frames=2)

    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    words = ["eval", str(tmp_path / "a.mp4"), str(tmp_path / "a.mp4"), "--csv", str(tmp_path / "r.csv")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "100.00" in said.out
    assert "r.csv: cannot be written (No space left on device)" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_clips_that_were_measured_are_reported_where_a_later_one_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After hours of a large set a picture that is missing a line must not cost all of them."""
    root, table = trees.reds(tmp_path / "REDS", ["val"], clips=3, frames=2), tmp_path / "r.csv"
    trees.picture(root / "val/val_sharp/002/00000001.png", size=(16, 26))
    sides = [str(root / f"val/val_{side}") for side in ("blur", "sharp")]
    assert main(["eval", *sides, "--csv", str(table)]) == 2
    said = capsys.readouterr()
    assert "has 26x16" in said.err
    assert "ended before all was measured: 2 of 3 clips" in said.out
    rows = csv.DictReader(StringIO(table.read_text(encoding="utf-8")))
    assert [row["clip"] for row in rows] == ["000", "000", "001", "001"]


def test_names_that_are_no_text_do_not_lose_a_report(found: Evaluation, tmp_path: Path) -> None:
    odd = dataclasses.replace(found.rows[0], clip=os.fsdecode(b"cl\xffp"))
    evaluated = dataclasses.replace(found, rows=(odd,))
    report.write(tmp_path / "r", report.csv_text(evaluated), "--csv")
    assert "cl\\udcffp" in (tmp_path / "r").read_text(encoding="utf-8")


def test_more_than_ten_clips_show_the_best_median_and_worst_of_all() -> None:
    from vdeblur.measure import shots

    own = [frame(f"c{n}", 0, after=25.0 + n) for n in range(12)]
    seen = [Shot(row.clip, 0, "only frame", b"", b"") for row in own]
    assert [(shot.clip, shot.label) for shot in shots.of_all(seen, own)] == [
        ("c11", "best"),
        ("c6", "median"),
        ("c0", "worst"),
    ]


def test_a_long_clip_keeps_few_pictures_and_still_the_right_ones() -> None:
    from vdeblur.measure import shots

    gallery, grey = shots.Gallery(), np.full((8, 8, 3), 0.5, np.float32)
    order = np.random.default_rng(2).permutation(400)
    for number in order:
        gallery.add(frame("c", int(number), after=25.0 + number / 100), grey, grey)
    assert len(gallery._kept) <= shots.SAMPLE + 2
    chosen = gallery.chosen()
    assert [shot.label for shot in chosen] == ["best", "median", "worst"]
    assert (chosen[0].number, chosen[2].number) == (399, 0)
    assert abs(chosen[1].number - 200) < 12
    single = shots.Gallery()
    single.add(frame("c", 0), grey, grey)
    assert [shot.label for shot in single.chosen()] == ["only frame"]
