"""Sharp pictures from videos: of every part of them, and never more in memory than are wanted."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from data import trees

from vdeblur.data import material
from vdeblur.errors import InputError

FRAMES, COUNT = 300, 5
DARKEST = 20


def write_video(path: Path, options: dict[str, str]) -> Path:
    """Frames that say by their brightness which they are; those of the first third have the finest detail."""
    rng = np.random.default_rng(0)
    grain = rng.integers(-10, 11, (32, 48, 1))
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "bgr0"
        for number in range(FRAMES):
            detail = grain if number < FRAMES // 3 else grain // 2
            picture = (DARKEST + number * 0.7 + detail).repeat(3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [("counted.avi", {}), ("timed.mkv", {}), ("endless.mkv", {"live": "1"})],
    ids=["frames in the header", "a duration", "neither"],
)
def test_frames_of_a_video_are_spread_evenly_and_few_at_any_time(
    name: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[Any]] = []
    most = 0
    part = material._part

    def counted(picture: Any, rng: np.random.Generator) -> Any:
        nonlocal most
        found = part(picture, rng)
        kept.append(weakref.ref(found))
        most = max(most, sum(reference() is not None for reference in kept))
        return found

    monkeypatch.setattr(material, "_part", counted)
    video = write_video(tmp_path / name, options)
    training, validation, _ = material.sharp_pictures(video, COUNT, 1)
    numbers = [(float(picture.mean()) - DARKEST) / 0.7 for picture in (*training, *validation)]
    assert numbers == sorted(numbers)
    assert COUNT <= len(numbers) <= 2 * COUNT
    assert most <= 2 * COUNT + 2
    gaps = np.diff([0, *numbers, FRAMES])
    assert gaps.max() < 2.1 * FRAMES / len(numbers)
    assert len(validation) == 1
    assert numbers[-1] > 0.85 * FRAMES - FRAMES / COUNT / 2


def test_of_a_large_collection_so_many_pictures_are_taken_as_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material, "MOST_STILLS", 5)
    for number in range(20):
        trees.picture(tmp_path / f"{number:02d}.png", number)
    training, validation, _ = material.sharp_pictures(tmp_path, 400, 1)
    assert sorted(int(picture[1, 1, 0]) for picture in training + validation) == [0, 4, 8, 12, 16]


def test_of_very_many_videos_some_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames of each of a thousand would be far more than were asked for, and than memory holds."""
    read: list[str] = []

    def sharpest(path: Path, count: int, *rest: object) -> list[Any]:
        read.append(path.name)
        return [np.zeros((8, 8, 3), np.uint8)] * count

    monkeypatch.setattr(material, "_sharpest", sharpest)
    for number in range(20):
        (tmp_path / f"{number:02d}.mp4").touch()
    training, validation, _ = material.sharp_pictures(tmp_path, 16, 1)
    assert read == ["00.mp4", "05.mp4", "10.mp4", "15.mp4"]
    assert (len(training), len(validation)) == (12, 4)


def test_what_a_network_has_made_is_not_learnt_from_as_sharp(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "a.deblurred", "b.preview")):
        trees.picture(tmp_path / f"{name}.png", number)
    training, validation, _ = material.sharp_pictures(tmp_path, 400, 1)
    assert sorted(int(picture[1, 1, 0]) for picture in training + validation) == [0, 1]


def test_files_that_do_not_open_are_left_out_and_told_hidden_folders_are_not_looked_into(
    tmp_path: Path,
) -> None:
    """A library of thousands has a torn picture somewhere, and a waste bin."""
    for name in ("a", "b", "c", ".thumbnails/d"):
        trees.picture(tmp_path / f"{name}.png")
    for name in ("c.png", "walk.mp4"):
        (tmp_path / name).write_bytes(b"nonsense")
    training, validation, faults = material.sharp_pictures(tmp_path, 400, 1)
    assert len(training) + len(validation) == 2
    assert [fault.partition(":")[0] for fault in faults] == [f"{tmp_path}/c.png", f"{tmp_path}/walk.mp4"]
    with pytest.raises(InputError, match=r"walk\.mp4"):
        material.sharp_pictures(tmp_path / "walk.mp4", 400, 1)
