"""Where pairs of blurred and sharp pictures lie: the trees of the known data sets and of everybody's own.

    REDS       {train,val,test}/{train,val,test}_{blur,blur_comp,blur_jpeg,sharp}/<clip>/00000000.png
    GoPro      GOPRO_Large/{train,test}/<clip>/{blur,blur_gamma,sharp}/000001.png
    flat       blur/*.png sharp/*.png, alone or below train/ and test/ (MIMO-UNet); input/ target/ too
    clips      <set>/<clip>/{blur,sharp}/*.png
    BSD        BSD_1ms8ms/{train,valid,test}/<clip>/{Blur,Sharp}/RGB/00000000.png
    RSBlur     <scene>/<number>/{real_blur,avg65_img,gt}/*.png
    RealBlur   a list file whose lines name a sharp and a blurred picture (those of RSBlur and BSD too)
    two        two plain folders of pictures or videos with equal names, or two videos

REDS' sides may also lie apart, and within each other, as its zips do when each is unpacked by itself.
The tree is recognised by its folders' names.  Where several kinds of blur stand side by side one must be
chosen; REDS' plain `blur` alone is taken unasked.  Every fault names the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vdeblur.data import partners
from vdeblur.data.opening import picture_size, video_facts
from vdeblur.data.partners import PairedClip, PairedFrame
from vdeblur.errors import InputError
from vdeblur.video.names import is_picture

__all__ = ["PairedClip", "PairedFrame", "Survey", "blurred_side", "pair_size", "read_layout", "survey"]

SHARP = ("sharp", "gt", "target")
COMPRESSED = ("blur_comp", "blur_jpeg")  # REDS'
BLUR = ("blur", "blur_gamma", *COMPRESSED, "real_blur", "avg65_img", "input")
SPLITS = ("train", "val", "test")
DEPTH = 4  # folders below the root in which sides are looked for


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies below a root: clips whose frames are complete, faults and remarks, a sentence each.

    sizes   (height, width) of each clip's first frame, by its name; only where pictures were looked at
    """

    root: Path
    clips: tuple[PairedClip, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    sizes: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Sides:
    """A folder that holds blurred (one or more kinds) beside sharp pictures."""

    name: str
    blur: dict[str, Path]
    sharp: Path


def read_layout(root: Path, sharp: Path | None = None, *, blur: str | None = None) -> tuple[PairedClip, ...]:
    """The clips below a root, or in two plain folders, two videos, or a list file.

    root    a folder, a list file, or the blurred side where `sharp` is given
    sharp   the sharp side
    blur    which kind of blur where there are several ("blur", "blur_gamma", "blur_comp", ...)

    Raises InputError with the first fault; pictures are not opened.
    """
    found = survey(root, sharp, blur=blur)
    if found.faults:
        more = f" (and {len(found.faults) - 1} more: `vdeblur data check`)" if len(found.faults) > 1 else ""
        raise InputError(found.faults[0] + more)
    return found.clips


def survey(
    root: Path,
    sharp: Path | None = None,
    *,
    blur: str | None = None,
    look: bool = False,
    tell: Callable[[str, int, int], None] = lambda clip, done, of: None,
) -> Survey:
    """The same, with all faults gathered; `look` opens every picture for its size and soundness.

    tell   is called with the clip, how many pairs have been looked at, and of how many

    Raises InputError only where nothing can be found at all, or a choice is missing.
    """
    faults: list[str] = []
    notes: list[str] = []
    clips = list(_found(root, sharp, blur, faults, notes))
    if not clips and not faults:
        raise InputError(
            f"{root}: no pairs here; known layouts: REDS, GoPro, BSD, RSBlur, blur/ beside sharp/"
        )
    clips = [replace(clip, name=clip.name or root.resolve().stem) for clip in clips if clip.frames]
    sizes: dict[str, tuple[int, int]] = {}
    done, pairs = 0, sum(len(clip.frames) for clip in clips)
    for clip in clips if look else ():
        for frame in clip.frames[:1] if clip.is_video else clip.frames:
            done += len(clip.frames) if clip.is_video else 1
            tell(clip.name, done, pairs)
            try:
                sizes.setdefault(clip.name, _size(clip, frame))
            except InputError as error:
                faults.append(str(error))
    return Survey(root, tuple(clips), tuple(faults), tuple(notes), sizes)


def blurred_side(root: Path) -> Path | None:
    """A folder at or below a root that holds the blurred side of pairs, if there is one; opens no file."""
    sides = next(_sides(root, []), None) if root.is_dir() else None
    return None if sides is None else next(iter(sides.blur.values()))


def pair_size(frame: PairedFrame) -> tuple[int, int]:
    """(height, width) of a pair of pictures; InputError where one does not open or they differ."""
    sizes = picture_size(frame.blur), picture_size(frame.sharp)
    if sizes[0] != sizes[1]:
        raise InputError(partners.unequal(frame.blur, sizes[0], frame.sharp, sizes[1]))
    return sizes[0]


def _found(
    root: Path, sharp: Path | None, blur: str | None, faults: list[str], notes: list[str]
) -> Iterator[PairedClip]:
    for path in (root, sharp):
        if path is not None and not path.exists():
            raise InputError(f"{path}: no such file or folder")
    if sharp is not None:
        yield from _two(root, sharp, faults)
        return
    if root.is_file():
        if not partners.is_list(root):
            raise InputError(f"{root}: neither a folder nor a list file (lines of two pictures)")
        yield from partners.in_list(root, faults)
        return
    lists = [path.name for path in sorted(root.iterdir()) if partners.is_list(path)]
    if lists:
        raise InputError(f"{root}: holds lists of pairs; name one of them: {', '.join(lists)}")
    stills: dict[str, list[PairedFrame]] = defaultdict(list)
    for sides in _sides(root, notes):
        folder = _chosen(sides, blur)
        clips = partners.in_folders(sides.name, folder, sides.sharp, faults)
        if folder.name not in ("real_blur", "avg65_img"):
            yield from clips
            continue
        scene, _, number = sides.name.rpartition("/")  # RSBlur: a folder for every frame
        for clip in clips:
            stills[scene] += [
                PairedFrame(
                    frame.blur, frame.sharp, int(number) if number.isdecimal() else len(stills[scene])
                )
                for frame in clip.frames
            ]
    for scene, frames in stills.items():
        yield PairedClip(scene or root.name, tuple(sorted(frames, key=lambda frame: frame.number)))


def _two(blur: Path, sharp: Path, faults: list[str]) -> Iterator[PairedClip]:
    """Two videos, two pictures, or two folders."""
    if blur.is_dir() and sharp.is_dir():
        yield from partners.in_folders("", blur, sharp, faults)
    elif is_picture(blur) and is_picture(sharp):
        yield PairedClip(blur.stem, (PairedFrame(blur, sharp, 0),))
    elif blur.is_file() and sharp.is_file() and not is_picture(blur) and not is_picture(sharp):
        yield partners.video_clip(blur.stem, blur, sharp)
    else:
        raise InputError(f"{blur} and {sharp}: give two folders, two videos or two pictures")


def _sides(root: Path, notes: list[str]) -> Iterator[_Sides]:
    """All folders at or below the root that hold both sides, and REDS' sides that lie apart."""
    apart: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    yield from _beside(root, "", DEPTH, apart)
    for split, found in apart.items():
        truths = found.pop("sharp", [])
        if len(truths) == 1 and found and all(len(paths) == 1 for paths in found.values()):
            yield _Sides(split, {kind: path for kind, (path,) in found.items()}, truths[0])
            continue
        for path in (path for paths in found.values() for path in paths):
            notes.append(f"{path}: left out, no {split}_sharp beside it")
        notes += [f"{path}: left out, no {split}_blur beside it" for path in truths]


def _beside(folder: Path, name: str, depth: int, apart: dict[str, dict[str, list[Path]]]) -> Iterator[_Sides]:
    """Sides that lie beside each other, not searched any deeper; REDS' without the other go `apart`."""
    inner = {path.name.lower(): path for path in partners.folders(folder)}
    sharp = next((inner[word] for word in SHARP if word in inner), None)
    blur = {word: inner[word] for word in BLUR if word in inner}
    if sharp is not None and blur:
        yield _Sides(name, blur, sharp)
        return
    for split in SPLITS:  # REDS
        here = {
            kind: _unpacked(inner.pop(f"{split}_{kind}"))
            for kind in ("sharp", *BLUR)
            if f"{split}_{kind}" in inner
        }
        if len(here) > 1 and "sharp" in here:
            above = name if name.rpartition("/")[2] == split else f"{name}/{split}".lstrip("/")
            truth = here.pop("sharp")
            yield _Sides(above, here, truth)
        else:
            for kind, path in here.items():
                apart[split][kind].append(path)
    if depth:
        for path in sorted(inner.values()):
            yield from _beside(path, f"{name}/{path.name}".lstrip("/"), depth - 1, apart)


def _unpacked(side: Path) -> Path:
    """The side itself, or train_blur/train/train_blur: a zip in a folder that was named after it."""
    within = side / side.name.partition("_")[0] / side.name
    return within if within.is_dir() else side


def _chosen(sides: _Sides, blur: str | None) -> Path:
    """The blurred side that is meant; several without a choice are refused, except REDS' compressed ones."""
    kinds = sides.blur
    if blur is not None:
        if blur not in kinds:
            raise InputError(f"--blur {blur}: {sides.sharp.parent} has {', '.join(kinds)}")
        return kinds[blur]
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    if kinds.keys() <= {"blur", *COMPRESSED} and "blur" in kinds:
        return kinds["blur"]
    raise InputError(
        f"{sides.sharp.parent}: several kinds of blur; choose one: --blur {' or --blur '.join(kinds)}"
    )


def _size(clip: PairedClip, frame: PairedFrame) -> tuple[int, int]:
    if not clip.is_video:
        return pair_size(frame)
    return video_facts(frame.blur)[:2]
