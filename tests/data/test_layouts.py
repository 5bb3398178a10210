"""Each layout is read as it is published, and each fault names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from data import trees

from vdeblur.data.layouts import PairedClip, read_layout, survey
from vdeblur.errors import InputError


def shape(clips: tuple[PairedClip, ...]) -> dict[str, list[int]]:
    return {clip.name: [frame.number for frame in clip.frames] for clip in clips}


def test_reds_plain_and_compressed_blur(tmp_path: Path) -> None:
    root = trees.reds(tmp_path)
    clips = read_layout(root)
    assert shape(clips) == {f"{s}/00{c}": [0, 1, 2] for s in ("train", "val") for c in (0, 1)}
    assert clips[0].frames[2].blur == root / "train/train_blur/000/00000002.png"
    assert clips[0].frames[2].sharp == root / "train/train_sharp/000/00000002.png"
    compressed = read_layout(root, blur="blur_comp")
    assert compressed[0].frames[0].blur == root / "train/train_blur_comp/000/00000000.png"
    assert shape(read_layout(root / "val")) == {"val/000": [0, 1, 2], "val/001": [0, 1, 2]}
    for clip in ("000", "001"):  # of the challenge of 2021
        (root / "val/val_blur_jpeg" / clip).mkdir(parents=True)
        for number in trees.numbers(3):
            shutil.copy(
                root / f"val/val_blur/{clip}/{number}.png", root / f"val/val_blur_jpeg/{clip}/{number}.jpg"
            )
    (frame, *_) = read_layout(root / "val", blur="blur_jpeg")[0].frames
    assert (frame.blur.suffix, frame.sharp.suffix) == (".jpg", ".png")
    assert read_layout(root / "val")[0].frames[0].blur.parts[-3] == "val_blur"


@pytest.mark.parametrize(
    "place",
    [
        "{split}_{kind}/{split}/{split}_{kind}",  # a folder for each zip, as Windows unpacks them
        "{split}{second}/{split}_{kind}",  # as macOS does: "train 2" beside "train"
        "{split}_{kind}",
        "REDS/{split}_{kind}",
    ],
)
def test_reds_as_its_zips_are_unpacked(place: str, tmp_path: Path) -> None:
    sides = {"blur": "", "sharp": " 2"}
    for split in ("train", "val"):
        for kind, second in sides.items():
            side = tmp_path / place.format(split=split, kind=kind, second=second)
            trees.series(side / "000", trees.numbers(2))
    found = survey(tmp_path)
    above = "REDS/" if place.startswith("REDS") else ""
    assert shape(found.clips) == {f"{above}train/000": [0, 1], f"{above}val/000": [0, 1]}
    assert {frame.sharp.parts[-3].partition("_")[2] for clip in found.clips for frame in clip.frames} == {
        "sharp"
    }
    assert (found.faults, found.notes) == ((), ())


def test_reds_sides_that_lie_apart_are_not_guessed(tmp_path: Path) -> None:
    for place in ("one/val_blur", "two/val_blur", "three/val_sharp"):
        trees.series(tmp_path / place / "000", trees.numbers(2))
    trees.reds(tmp_path / "REDS", ["train"])
    found = survey(tmp_path)
    assert shape(found.clips) == {f"REDS/train/00{clip}": [0, 1, 2] for clip in (0, 1)}
    assert [note.partition(":")[0] for note in found.notes] == [
        f"{tmp_path}/{place}" for place in ("one/val_blur", "two/val_blur", "three/val_sharp")
    ]


def test_reds_test_split_without_sharp_pictures_is_left_out_and_said(tmp_path: Path) -> None:
    root = trees.reds(tmp_path)
    trees.series(root / "test/test_blur/000", trees.numbers(2))
    found = survey(root)
    assert len(found.clips) == 4
    assert found.notes == (f"{root}/test/test_blur: left out, no test_sharp beside it",)


def test_gopro_blur_must_be_chosen(tmp_path: Path) -> None:
    root = trees.gopro(tmp_path / "GOPRO_Large")
    with pytest.raises(InputError, match=r"--blur blur or --blur blur_gamma"):
        read_layout(root)
    clips = read_layout(root, blur="blur_gamma")
    assert shape(clips) == {"test/GOPR0384_11_00": [47, 48, 49], "train/GOPR0372_07_00": [47, 48, 49]}
    assert {frame.blur.parent.name for clip in clips for frame in clip.frames} == {"blur_gamma"}
    with pytest.raises(InputError, match=r"--blur blur_comp: .* has blur, blur_gamma"):
        read_layout(root, blur="blur_comp")


def test_flat_folders_are_parted_into_the_clips_of_their_names(tmp_path: Path) -> None:
    names = ["GOPR0384_11_00-000001", "GOPR0384_11_00-000002", "GOPR0396_11_00-000001"]
    for split in ("train", "test"):
        for side in ("blur", "sharp"):
            trees.series(tmp_path / split / side, names)
    clips = shape(read_layout(tmp_path))
    assert clips == {
        f"{split}/GOPR0{n}_11_00": numbers
        for split in ("test", "train")
        for n, numbers in ((384, [1, 2]), (396, [1]))
    }


def test_sides_beside_each_other_in_the_root(tmp_path: Path) -> None:
    for side in ("blur", "sharp"):
        trees.series(tmp_path / "mine" / side, trees.numbers(2))
    assert shape(read_layout(tmp_path / "mine")) == {"mine": [0, 1]}


def test_sets_of_clips(tmp_path: Path) -> None:
    for clip in ("reds/000", "gopro/car"):
        for side in ("blur", "sharp"):
            trees.series(tmp_path / clip / side, trees.numbers(2, first=8))
    assert shape(read_layout(tmp_path)) == {"gopro/car": [8, 9], "reds/000": [8, 9]}


def test_bsd(tmp_path: Path) -> None:
    for clip in ("000", "103"):
        for side in ("Blur", "Sharp"):
            trees.series(tmp_path / "BSD_1ms8ms/test" / clip / side / "RGB", trees.numbers(2))
            (tmp_path / "BSD_1ms8ms/test" / clip / side / "RAW").mkdir()
    assert shape(read_layout(tmp_path / "BSD_1ms8ms")) == {"test/000": [0, 1], "test/103": [0, 1]}


def test_rsblur_folders_and_lists(tmp_path: Path) -> None:
    lines = []
    for number in (562, 563, 700):
        case = tmp_path / "RSBlur/0001" / f"{number:06d}"
        trees.picture(case / "real_blur/real_blur.png")
        trees.picture(case / "avg65_img/avg_blur.png")
        trees.picture(case / "gt/gt_sharp.png")
        place = f"RSBlur/0001/{number:06d}"
        lines.append(f"{place}/gt/gt_sharp.png {place}/real_blur/real_blur.png")
    with pytest.raises(InputError, match="--blur real_blur or --blur avg65_img"):
        read_layout(tmp_path / "RSBlur")
    for root in (tmp_path / "RSBlur", tmp_path / "RSBlur/0001"):
        (clip,) = read_layout(root, blur="real_blur")
        assert clip.name == "0001"
        assert [frame.number for frame in clip.frames] == [562, 563, 700]
    listed = tmp_path / "datalist/RSBlur/RSBlur_real_val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(lines), encoding="utf-8")
    assert shape(read_layout(listed)) == {"RSBlur/0001": [562, 563, 700]}


def test_realblur_lists(tmp_path: Path) -> None:
    base = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
    lines = []
    for scene, numbers in (("scene206", (15, 4, 9)), ("scene059", (2,))):
        for n in numbers:
            trees.picture(tmp_path / base / scene / f"gt/gt_{n}.png")
            trees.picture(tmp_path / base / scene / f"blur/blur_{n}.png")
            lines.append(f"{base}/{scene}/gt/gt_{n}.png {base}/{scene}/blur/blur_{n}.png ")
    listed = tmp_path / "RealBlur_J_test_list.txt"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    clips = read_layout(listed)
    assert shape(clips) == {f"{base}/scene059": [2], f"{base}/scene206": [4, 9, 15]}
    assert clips[1].frames[0].blur.name == "blur_4.png"
    assert clips[1].frames[0].sharp.name == "gt_4.png"
    with pytest.raises(InputError, match=r"name one of them: RealBlur_J_test_list\.txt"):
        read_layout(tmp_path)
    # Without the list: the same pairs, by their numbers.
    assert shape(read_layout(tmp_path / base)) == {"scene059": [2], "scene206": [4, 9, 15]}

    listed.write_text(lines[0] + "\nscene/gt/gt_1.png\n" + lines[1].replace("gt_4", "gt_5"), encoding="utf-8")
    faults = survey(listed).faults
    assert faults[0].startswith(f"{listed}, line 2: no pair")
    assert faults[1].endswith("gt/gt_5.png: is not there (" + f"{listed}, line 3)")


def test_two_plain_folders_of_pictures(tmp_path: Path) -> None:
    trees.series(tmp_path / "soft", ["a1", "a2"])
    trees.series(tmp_path / "crisp", ["a1", "a2"])
    assert shape(read_layout(tmp_path / "soft", tmp_path / "crisp")) == {"soft": [1, 2]}


def test_videos_in_folders_and_alone(tmp_path: Path) -> None:
    from video import media

    for side in ("blur", "sharp"):
        (tmp_path / side).mkdir()
        media.write_clip(tmp_path / side / "walk.mp4")
    (clip,) = read_layout(tmp_path / "blur", tmp_path / "sharp")
    assert clip.is_video
    assert clip.name == "walk"
    assert [frame.number for frame in clip.frames] == list(range(len(clip.frames)))
    assert len(clip.frames) > 2
    media.write_clip(tmp_path / "short.mp4", frames=3)
    with pytest.raises(InputError, match=r"short\.mp4: 3 frames, but .*walk\.mp4 has \d+"):
        read_layout(tmp_path / "short.mp4", tmp_path / "sharp/walk.mp4")


def test_frames_that_an_edit_list_hides_have_no_partners(tmp_path: Path) -> None:
    """As of a clip that was cut without encoding it anew: four of twelve are there to decode the others."""
    from video import media

    cut = media.write_clip(tmp_path / "cut.mp4", pts=[3600 * n for n in range(-4, 8)]).path
    whole = media.write_clip(tmp_path / "whole.mp4", frames=8).path
    (clip,) = read_layout(cut, whole)
    assert len(clip.frames) == 8


def test_missing_partners_are_named(tmp_path: Path) -> None:
    root = trees.reds(tmp_path, ["val"])
    (root / "val/val_sharp/000/00000001.png").unlink()
    (root / "val/val_blur/001/00000002.png").unlink()
    with pytest.raises(
        InputError, match=r"val_blur/000/00000001\.png: no partner in .*val_sharp/000 \(and 1 more"
    ):
        read_layout(root)
    assert "val_sharp/001/00000002.png: no partner in" in survey(root).faults[1]
    shutil.rmtree(root / "val/val_sharp/001")
    assert survey(root).faults[1] == f"{root}/val/val_blur/001: no partner {root}/val/val_sharp/001"


def test_names_that_differ_by_their_endings_only_are_named(tmp_path: Path) -> None:
    for side in ("blur", "sharp"):
        trees.series(tmp_path / side, ["1", "2"])
        shutil.copy(tmp_path / side / "1.png", tmp_path / side / "1.jpg")
    assert survey(tmp_path).faults == tuple(
        f"{tmp_path}/{side}/1.png: 1.jpg beside it has the same name; keep one of them"
        for side in ("blur", "sharp")
    )
    (tmp_path / "sharp/1.jpg").unlink()
    with pytest.raises(InputError, match=r"blur/1\.png: 1\.jpg beside it has the same name"):
        read_layout(tmp_path)


def test_unequal_sizes_and_broken_pictures_are_named(tmp_path: Path) -> None:
    root = trees.reds(tmp_path, ["val"], clips=1)
    trees.picture(root / "val/val_sharp/000/00000001.png", size=(16, 26))
    broken = root / "val/val_blur/000/00000002.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    faults = survey(root, look=True).faults
    assert faults[0].endswith("val_sharp/000/00000001.png has 26x16")
    assert "00000001.png: 24x16 pixels, but" in faults[0]
    assert faults[1].startswith(f"{broken}: not a picture, or damaged")
    assert survey(root).faults == ()


def test_nothing_there_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs here; known layouts: REDS"):
        read_layout(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        read_layout(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("hello\n", encoding="utf-8")
    with pytest.raises(InputError, match="neither a folder nor a list file"):
        read_layout(tmp_path / "notes.txt")


@pytest.mark.shared
def test_real_pairs(shared: Path) -> None:
    found = survey(shared / "pairs", look=True)
    assert found.faults == ()
    assert len(found.clips) == 8
    assert sum(len(clip.frames) for clip in found.clips) == 42
    assert found.sizes["reds/020"] == (288, 512)
