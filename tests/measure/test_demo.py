"""The demo's clip is what it says: blur from motion, in linear light, around the sharp frame."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vdeblur import metrics
from vdeblur.cli.main import main
from vdeblur.measure import demo


def test_frames_are_blurred_and_the_sharp_one_stands_in_the_middle() -> None:
    pairs = list(demo.shaken_frames(8))
    scores = [metrics.psnr(blurred, sharp, data_range=255) for blurred, sharp in pairs]
    assert {pair[0].shape for pair in pairs} == {(*demo.SIZE, 3)}
    assert 15 < float(np.mean(scores)) < 40
    # Averaging in linear light never darkens.
    assert all(blurred.mean() >= sharp.mean() - 0.5 for blurred, sharp in pairs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nonsuch"], "--model nonsuch"),
        (["--precision", "fp17"], "--precision fp17"),
        (["--seconds", "inf"], "--seconds inf: give a length above 0 and at most 60"),
        (["--seconds", "nan"], "--seconds nan"),
        (["--seconds", "0"], "--seconds 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", str(tmp_path / "demo"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["sharp.mp4", "shaken.mp4", "shaken.deblurred.mp4", "before_after.png"])
def test_files_of_its_names_are_left_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"mine")
    assert main(["demo", str(tmp_path), "--seconds", "0.1", "--model", "mimo-unet-tiny"]) == 2
    assert f"{tmp_path / name}: exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    assert main(["demo", str(tmp_path / "file" / "demo"), "--model", "mimo-unet-tiny"]) == 2
    assert f"{tmp_path / 'file' / 'demo'}: cannot be made (Not a directory)" in capsys.readouterr().err


@pytest.mark.slow
def test_demo_leaves_clips_with_sound_scores_and_a_picture(tmp_path: Path) -> None:
    result = demo.demo(tmp_path, seconds=0.25, model="mimo-unet-tiny")
    for path in (result.sharp, result.shaken, result.result):
        with av.open(str(path)) as clip:
            assert sum(1 for _ in clip.decode(video=0)) == result.frames == 6
            assert clip.streams.audio
    assert result.picture.read_bytes().startswith(b"\x89PNG")
    words = dict(result.describe())
    assert "dB before" in words["PSNR"]
    assert result.true_fps > 0
