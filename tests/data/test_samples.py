"""Samples are functions of (step, slot); pools only save work; splits are by clip."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from data import trees
from hypothesis import given
from hypothesis import strategies as st

from vdeblur.data.feed import Feed, Share
from vdeblur.data.layouts import PairedClip, PairedFrame, read_layout
from vdeblur.data.samples import Augmentation, FilePairs, Pool, Samples, augmented, read_picture, saturated
from vdeblur.data.splits import check_sizes, files, left_out, split
from vdeblur.data.synthesis import Pair
from vdeblur.errors import InputError

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)


class Counted:
    """Pairs whose every pixel is their number, and how often each was made."""

    def __init__(self) -> None:
        self.made: Counter[int] = Counter()

    def __call__(self, number: int) -> Pair:
        self.made[number] += 1
        pixels = np.full((12, 16, 3), number % 256, np.uint8)
        return Pair(pixels, pixels)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 3000))
def test_a_pool_moves_on_one_pair_at_a_time(size: int, reuse: int, step: int) -> None:
    now, then = Pool(size, reuse).window(step), Pool(size, reuse).window(step + 1)
    assert 1 <= now[1] - now[0] <= size
    assert then[1] - now[1] in (0, 1)
    assert Pool(size, reuse).window(0) == (0, 1)
    later = Pool(size, reuse).window(step + 100 * reuse * size)
    assert later[1] - later[0] == size
    assert Pool(size, reuse).window(step + 101 * reuse * size)[1] - later[1] == size


def test_each_pair_is_made_once_and_every_slot_has_its_own() -> None:
    source = Counted()
    samples = Samples(source, Pool(3, 4), Augmentation(8), slots=4, seed=1)
    for step in range(60):
        for slot in range(4):
            blurred, sharp = samples[step, slot]
            assert blurred.shape == (8, 8, 3)
            assert np.array_equal(blurred, sharp)
            assert blurred[0, 0, 0] % 4 == slot
    assert set(source.made.values()) == {1}


def test_a_sample_does_not_depend_on_what_was_asked_before() -> None:
    one, other = (Samples(Counted(), Pool(5, 2), Augmentation(8), slots=2, seed=3) for _ in range(2))
    seen = [one[step, 1][0] for step in range(30)]
    assert np.array_equal(other[29, 1][0], seen[29])
    assert np.array_equal(other[4, 1][0], seen[4])


@pytest.mark.parametrize("workers", [0, 2, 5])
def test_batches_are_the_same_with_any_number_of_workers(workers: int) -> None:
    share = Share(batch=4, rank=1, ranks=2, parts=2)
    samples = Samples(Counted(), Pool(2, 2), Augmentation(8, swap_colours=True), share.slots, seed=1)
    batches = list(islice(Feed(samples, share, torch.device("cpu"), workers)(5), 3))
    expected = [(5, range(4, 8)), (5, range(12, 16)), (6, range(4, 8))]
    for (blurred, sharp), (step, slots) in zip(batches, expected, strict=True):
        for row, slot in enumerate(slots):
            values = torch.from_numpy(samples[step, slot][0]).permute(2, 0, 1).float() / 255
            torch.testing.assert_close(blurred[row], values)
        assert sharp.dtype == torch.float32
        assert sharp.is_contiguous(memory_format=torch.channels_last)


def test_a_fault_in_a_worker_is_the_same_sentence(tmp_path: Path) -> None:
    files = [(trees.picture(tmp_path / "blur/0.png"), tmp_path / "sharp/0.png")]
    share = Share(2)
    samples = Samples(FilePairs(files, 16, 16, 1), Pool(), Augmentation(16), share.slots, seed=1)
    for workers in (0, 1):
        with pytest.raises(InputError, match=r"sharp/0\.png: does not open \(No such file"):
            next(Feed(samples, share, torch.device("cpu"), workers)(0))


def test_files_come_once_an_epoch_in_new_order(tmp_path: Path) -> None:
    files = []
    for value in range(7):
        path = trees.picture(tmp_path / f"{value}.png", value)
        files.append((path, path))
    pairs = FilePairs(files, 16, 16, seed=4)
    epochs = [[int(pairs(number).sharp[1, 1, 0]) for number in range(7 * e, 7 * e + 7)] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert any(a != b for a, b in pairwise(epochs))
    again = FilePairs(files, 16, 16, seed=4)
    assert [int(again(number).sharp[1, 1, 0]) for number in (20, 3)] == [epochs[2][6], epochs[0][3]]


def test_pictures_smaller_than_a_crop_are_named(tmp_path: Path) -> None:
    path = trees.picture(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"0\.png: 24x16 pixels, smaller than the crop of 32"):
        FilePairs([(path, path)], 64, 32, seed=1)(0)
    root = trees.reds(tmp_path / "REDS", ["val"])
    with pytest.raises(InputError, match=r"24x16 pixels, smaller than the crop of 32; give a smaller --crop"):
        check_sizes(read_layout(root), 32)


def test_augmentation_treats_both_sides_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    seen = set()
    for seed in range(40):
        blurred, sharp = augmented(
            np.random.default_rng(seed), Pair(pixels, pixels), Augmentation(20, swap_colours=True)
        )
        assert np.array_equal(blurred, sharp)
        assert sorted(blurred.ravel()) == sorted(pixels.ravel())
        seen.add(blurred.tobytes())
    assert len(seen) > 20
    straight = [
        augmented(np.random.default_rng(s), Pair(pixels, pixels), Augmentation(20, "mirror"))[0]
        for s in range(16)
    ]
    assert {bytes(p) for p in straight} == {pixels.tobytes(), np.ascontiguousarray(pixels[:, ::-1]).tobytes()}


def test_saturation_and_noise_are_deepdeblurs() -> None:
    rgb = np.array([[[0.8, 0.4, 0.2], [0.5, 0.5, 0.5]]], np.float32)
    # Value 0.8, saturation 0.75; halved 0.375: the least channel is 0.8 x (1 - 0.375) = 0.5.
    np.testing.assert_allclose(saturated(rgb, 0.5)[0, 0], [0.8, 0.6, 0.5], atol=1e-6)
    np.testing.assert_allclose(saturated(rgb, 2.0)[0, 0], [0.8, 0.8 - 0.4 * 4 / 3, 0.0], atol=1e-6)
    np.testing.assert_allclose(saturated(rgb, 2.0)[0, 1], 0.5)
    grey = Pair(np.full((64, 64, 3), 128, np.uint8), np.full((64, 64, 3), 128, np.uint8))
    sigmas = []
    for seed in range(60):
        blurred, sharp = augmented(
            np.random.default_rng(seed), grey, Augmentation(64, saturation=0.5, noise_levels=2.0)
        )
        assert blurred.dtype == sharp.dtype == np.float32
        assert np.ptp(sharp) == 0
        sigmas.append(255 * float(np.std(blurred - sharp)))
    assert 1.0 < np.sqrt(np.mean(np.square(sigmas))) < 3.0


def test_whole_clips_judge(tmp_path: Path) -> None:
    clips = read_layout(trees.reds(tmp_path / "REDS", clips=2))
    training, judging = split(clips, (), tmp_path)
    assert [clip.name for clip in training] == ["train/000", "train/001"]
    assert [clip.name for clip in judging] == ["val/000", "val/001"]
    training, judging = split(clips, ("train/001",), tmp_path)
    assert [clip.name for clip in judging] == ["train/001"]
    assert [clip.name for clip in training] == ["train/000"]
    with pytest.raises(InputError, match="no clip whose name begins with 'train/7'"):
        split(clips, ("train/7",), tmp_path)
    with pytest.raises(InputError, match="none is left to train on"):
        split(clips, ("train", "val"), tmp_path)
    many = read_layout(trees.reds(tmp_path / "many", ["train"], clips=20, frames=1))
    training, judging = split(many, (), tmp_path)
    assert (len(training), len(judging)) == (18, 2)
    assert split(many[:1], (), tmp_path)[1] == []


@pytest.mark.parametrize(
    "wanted", [(), ("BSD_1ms8ms/train/b",)], ids=["val judges", "a clip of train judges"]
)
def test_clips_of_val_and_test_are_never_learnt_from(wanted: tuple[str, ...]) -> None:
    """Whether both are there (BSD) or several data sets: figures on them would be worth nothing."""
    names = [f"{data}/{part}/{clip}" for data in ("BSD_1ms8ms", "BSD_2ms16ms")
             for part in ("train", "valid", "Test") for clip in "ab"]  # fmt: skip
    frame = PairedFrame(Path("a.png"), Path("b.png"), 0)
    clips = [PairedClip(name, (frame,)) for name in names]
    training, judging = split(clips, wanted, Path("BSD"))
    assert {clip.name.split("/")[1] for clip in training} == {"train"}
    assert len(training) == 4 - len(wanted)
    assert {clip.name.split("/")[1] for clip in judging} == ({"train"} if wanted else {"valid"})
    said = left_out(clips, [*training, *judging])
    assert (
        said
        == ("8 clips of test/, valid/" if wanted else "4 clips of test/") + ": not learnt from, nor judged by"
    )
    alone = [clip for clip in clips if "valid" in clip.name]
    assert [len(side) for side in split(alone, (), Path("BSD"))] == [3, 1]
    assert left_out(alone, alone) == ""


def test_short_clips_serve_as_often_as_long_ones_where_that_is_asked_for(tmp_path: Path) -> None:
    for clip, frames in (("long", 5), ("short", 2)):
        for side in ("blur", "sharp"):
            trees.series(tmp_path / clip / side, trees.numbers(frames))
    clips = read_layout(tmp_path)
    assert Counter(blur.parts[-3] for blur, _ in files(clips)) == {"long": 5, "short": 2}
    each = Counter(blur for blur, _ in files(clips, balanced=True))
    assert sorted(each.values()) == [1, 1, 1, 1, 1, 2, 3]
    assert sum(count for blur, count in each.items() if blur.parts[-3] == "short") == 5


def test_brightness_is_taken_over_and_detail_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(60, 160, (96, 128, 3), dtype=np.uint8)
    paths = tmp_path / "blur.png", tmp_path / "sharp.png"
    for path, pixels in zip(paths, (np.full_like(sharp, 130), sharp), strict=True):
        trees.write_png(path, pixels)
    plain, neutral = (FilePairs([paths], 128, 32, seed=1, neutral=share)(0) for share in (0.0, 1.0))
    assert np.array_equal(plain.sharp, sharp)
    assert np.array_equal(neutral.blurred, plain.blurred)
    assert abs(float(neutral.sharp.mean()) - 130) < 1 < abs(float(sharp.mean()) - 130)
    detail, kept = (side.astype(float) - side.mean() for side in (sharp, neutral.sharp))
    assert np.abs(kept - detail).mean() < 0.1 * np.abs(detail).mean()


def test_a_jpeg_that_is_cut_off_is_not_learnt_from(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "holiday.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    for progressive in (False, True):
        Image.fromarray(pixels).save(path, progressive=progressive, restart_marker_blocks=3)
        whole = path.read_bytes()
        moving = whole + b"mdat\xff\xd9\xff\xda and so on"  # as phones append a short video
        for data in (whole, moving):
            path.write_bytes(data)
            assert read_picture(path).shape == (64, 48, 3)
        for length in (len(whole) - 2, len(whole) - 900, 700):
            path.write_bytes(whole[:length])
            with pytest.raises(InputError, match=r"holiday\.jpg: the picture is cut off"):
                read_picture(path)


def test_pictures_are_not_turned_as_nowhere_else(tmp_path: Path) -> None:
    """Their orientation stays a tag for the engine too, and a partner may have lost it."""
    from PIL import Image

    path, orientation = tmp_path / "upright.jpg", Image.Exif()
    orientation[0x0112] = 6
    Image.new("RGB", (48, 32)).save(path, exif=orientation)
    assert read_picture(path).shape == (32, 48, 3)


def test_videos_are_refused_for_training_with_a_way_out(tmp_path: Path) -> None:
    from video import media

    for side in ("blur", "sharp"):
        (tmp_path / side).mkdir()
        media.write_clip(tmp_path / side / "walk.mp4")
    with pytest.raises(InputError, match=r"walk\.mp4: training reads pictures, not videos.*ffmpeg -i"):
        split(read_layout(tmp_path), (), tmp_path)
