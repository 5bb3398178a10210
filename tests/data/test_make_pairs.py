"""`vdeblur data make-pairs`: light averaged as by hand, whole trees, honest manifests."""

from __future__ import annotations

import errno
import itertools
import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from data import trees
from video import media

from vdeblur.cli.main import main
from vdeblur.data.exposures import exposures
from vdeblur.data.layouts import read_layout, survey
from vdeblur.data.sensor import make_response

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)


def noise(seed: int, height: int = 48, width: int = 64, block: int = 4) -> np.ndarray:
    """A picture of random blocks."""
    cells = np.random.default_rng(seed).integers(
        30, 226, (height // block, width // block, 3), dtype=np.uint8
    )
    return cells.repeat(block, 0).repeat(block, 1)


def write_video(path: Path, pictures: list[np.ndarray], rate: int, lasting: list[int] | None = None) -> Path:
    """RGB pictures, lossless; `lasting` so many steps of the rate each."""
    times = iter(itertools.accumulate(lasting or [1] * len(pictures), initial=0))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "bgr0"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = next(times), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_light_is_averaged_linearly_over_the_exposure() -> None:
    """Grey frames of different codes: five of them by hand, with light = code ** 2.2."""
    codes = [100, 110, 120, 130, 140, 150, 160, 150, 140, 130, 120, 110]
    frames = [np.full((48, 64, 3), code, np.uint8) for code in codes]
    made = list(exposures(iter(frames), 5.0, make_response(2.2, 0.0)))
    assert [exposure.middle for exposure in made] == [4]
    assert (made[0].sub_frames, made[0].between, made[0].shot) == (5, 1, 0)
    expected = 255 * np.mean((np.array(codes[2:7]) / 255) ** 2.2) ** (1 / 2.2)
    assert np.abs(made[0].blurred - expected).max() <= 0.6
    assert (made[0].sharp == codes[4]).all()
    assert abs(expected - np.mean(codes[2:7])) > 0.8  # else the average of codes would pass as well


def test_fast_motion_gets_frames_in_between() -> None:
    """A picture that moves by four pixels a frame: the average is a smooth streak, not a row of ghosts."""
    scene = noise(1, 64, 256, 8)
    frames = [scene[:, 4 * i : 4 * i + 128] for i in range(9)]
    made = list(exposures(iter(frames), 3.0, make_response(1.0, 0.0)))
    assert made[0].between >= 3
    middle = 4 * made[0].middle
    columns = [
        scene[:, middle + s : middle + s + 128].astype(float) for s in range(-6, 7)
    ]  # 3 frames of 4 px
    ideal = np.mean(columns, axis=0)[8:-8, 16:-16]
    ghosts = np.mean([frames[made[0].middle + i].astype(float) for i in (-1, 0, 1)], axis=0)[8:-8, 16:-16]
    error = np.abs(made[0].blurred[8:-8, 16:-16] - ideal).mean()
    assert error < 0.2 * np.abs(ghosts - ideal).mean()


def test_no_exposure_reaches_over_a_cut() -> None:
    frames = [noise(seed) for seed in (1, 2) for _ in range(8)]
    made = list(exposures(iter(frames), 3.0, make_response(2.2, 0.0)))
    assert {exposure.shot for exposure in made} == {0, 1}
    for exposure in made:
        assert np.array_equal(exposure.blurred, exposure.sharp)
        assert np.array_equal(exposure.sharp, frames[0 if exposure.shot == 0 else 8])


def test_a_tree_that_data_check_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = noise(3, 64, 256, 8)
    frames = [scene[:, i : i + 128] for i in range(40)]
    video = write_video(tmp_path / "fast.mkv", frames, 240)
    still = trees.picture(tmp_path / "still.png", 30, size=(96, 128))
    root = tmp_path / "pairs"
    assert main(["data", "make-pairs", str(video), str(still), "-o", str(root), "--path", "3", "6"]) == 0
    assert not survey(root, look=True).faults
    clips = read_layout(root)
    assert [clip.name for clip in clips] == ["train/fast", "train/still"]
    manifest = json.loads((root / "pairs.json").read_text())
    rows = [row for row in manifest["pairs"] if row["clip"] == "fast"]
    assert len(rows) == len(clips[0].frames) == 3
    assert {row["sub_frames"] for row in rows} == {9}
    for row, (a, b) in zip(rows, itertools.pairwise([*rows, None]), strict=True):
        sharp = pictures_of(root / f"train/train_sharp/fast/{row['frame']:08d}.png")[0]
        assert np.array_equal(sharp, frames[row["middle"]])
        assert b is None or b["middle"] - a["middle"] == 10  # 1/25 s at 240 a second
    assert manifest["exposure_s"] == 1 / 25
    assert manifest["gamma"] == 2.2
    assert manifest["pairs"][-1]["seed"] == [1, 1]
    again = tmp_path / "again"
    assert main(["data", "make-pairs", str(video), str(still), "-o", str(again), "--path", "3", "6"]) == 0
    for path in root.rglob("*.png"):
        assert path.read_bytes() == (again / path.relative_to(root)).read_bytes()


def test_the_exposure_is_in_seconds_where_frames_do_not_come_evenly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """25 frames a second, then 6.25: an average of as many of the slow ones would be open four times as
    long."""
    scene = noise(3, 64, 256, 8)
    frames = [scene[:, i : i + 128] for i in range(45)]
    video = write_video(tmp_path / "slower.mkv", frames, 25, [1] * 30 + [4] * 15)
    root = tmp_path / "pairs"
    assert main(["data", "make-pairs", str(video), "-o", str(root), "--exposure", "0.2"]) == 0
    rows = json.loads((root / "pairs.json").read_text())["pairs"]
    assert [row["middle"] for row in rows] == [4, 9, 14, 19, 24]
    assert {row["sub_frames"] // row["steps_between_frames"] for row in rows} == {5}
    assert {row["clip"] for row in rows} == {"slower"}
    assert (
        "slower.mkv: its frames are not evenly spaced; exposures were made where they come at 25 a second, "
        "none over other steps, of which there are 14"
    ) in capsys.readouterr().err


def test_damaged_pictures_are_in_no_exposure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.write_clip(tmp_path / "whole.mkv", frames=40, size=(160, 96), b_frames=True)
    video = media.flip_bits(made.path, tmp_path / "damaged.mkv", seed=1, count=8)
    with av.open(str(video)) as container:
        torn = {i for i, frame in enumerate(container.decode(video=0)) if frame.is_corrupt}
    assert torn
    root = tmp_path / "pairs"
    assert main(["data", "make-pairs", str(video), "-o", str(root)]) == 0
    assert "damaged.mkv: pictures that are damaged or do not decode: " in capsys.readouterr().err
    middles = {row["middle"] for row in json.loads((root / "pairs.json").read_text())["pairs"]}
    assert len(middles) > 5
    assert not middles & torn


def test_interlaced_video_gives_progressive_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the network learns the combs of the sharp side."""
    made = media.make("interlaced", tmp_path)
    root = tmp_path / "pairs"
    assert main(["data", "make-pairs", str(made.path), "-o", str(root)]) == 0
    assert f"{made.path.name}: interlaced; made progressive first" in capsys.readouterr().err
    woven = [np.asarray(picture, float) for picture in pictures_of(made.path)]
    row = json.loads((root / "pairs.json").read_text())["pairs"][0]
    (sharp,) = pictures_of(root / f"train/train_sharp/{row['clip']}/{row['frame']:08d}.png")

    def combs(picture: np.ndarray) -> float:
        """How unlike the lines of the two fields are, against lines of one field."""
        lines = picture.astype(float).mean(axis=2)
        return float(np.abs(np.diff(lines, axis=0)).mean() / np.abs(lines[2:] - lines[:-2]).mean())

    assert combs(sharp) < 0.9 * combs(woven[row["middle"]])


def test_no_exposure_reaches_over_a_gap_in_time() -> None:
    frames = [noise(seed) for seed in (1, 2) for _ in range(8)]
    with_gap = [*frames[:8], None, frames[8], None, *frames[8:]]
    made = list(exposures(iter(with_gap), 3.0, make_response(2.2, 0.0)))
    assert [(exposure.shot, exposure.middle > 8) for exposure in made] == [(0, False), (1, True)]
    assert all(np.array_equal(exposure.blurred, exposure.sharp) for exposure in made)


def test_names_that_differ_in_case_alone_get_folders_of_their_own(tmp_path: Path) -> None:
    """On Windows and macOS they would be one, and the second clip would replace the first."""
    for folder, name in (("a", "Walk.png"), ("b", "walk.png")):
        trees.picture(tmp_path / folder / name, size=(96, 128))
    root = tmp_path / "pairs"
    assert main(["data", "make-pairs", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(root)]) == 0
    assert [clip.name for clip in read_layout(root)] == ["train/Walk", "train/walk-2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.mp4"], "nothing.mp4: no such file"),
        (["notes.txt"], "neither a video nor a picture"),
        (["still.png", "--exposure", "0"], "--exposure 0"),
        (["still.png", "--gamma", "9"], "--gamma 9"),
        (["still.png", "--path", "9", "3"], "--path 9 3"),
        (["still.png", "--seed", "-1"], "--seed -1"),
        (["short.mkv"], "too short"),
        (["still.png", "short.mkv", "broken.mkv"], "broken.mkv"),
    ],
)
def test_mistakes_leave_nothing(
    tmp_path: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    trees.picture(Path("still.png"), size=(96, 128))
    write_video(Path("short.mkv"), [noise(1)] * 3, 240)
    Path("broken.mkv").write_bytes(Path("short.mkv").read_bytes()[:300])
    before = sorted(tmp_path.iterdir())
    assert main(["data", "make-pairs", *words, "-o", "pairs"]) == 2
    err = capsys.readouterr().err
    assert said in err.splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = trees.picture(tmp_path / "still.png", size=(96, 128))
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "mine").write_text("x")
    assert main(["data", "make-pairs", str(still), "-o", str(tmp_path / "pairs")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "pairs" / "mine").read_text() == "x"


def test_a_full_disk_is_no_fault_of_the_user_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = trees.picture(tmp_path / "still.png", size=(96, 128))

    def full(path: Path, picture: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("vdeblur.data.make_pairs.write_png", full)
    assert main(["data", "make-pairs", str(still), "-o", str(tmp_path / "pairs")]) == 1
    assert "pairs: disk full; nothing of it was kept" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["still.png"]


def test_the_folder_one_stands_in_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = trees.picture(tmp_path / "still.png", size=(96, 128))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["data", "make-pairs", str(still), "-o", "."]) == 2
    assert capsys.readouterr().err == "vdeblur: .: exists already; name a new folder for the pairs\n"
    monkeypatch.chdir(tmp_path)
    assert main(["data", "make-pairs", str(still), "-o", "empty"]) == 0
