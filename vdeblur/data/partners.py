"""Which blurred picture belongs to which sharp one: by name in two folders, or by the lines of a list.

Nothing is guessed: a picture without its partner is a fault that names it.  Nothing is opened, but videos,
whose frames have to be counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vdeblur.data.opening import video_facts
from vdeblur.errors import InputError
from vdeblur.video.names import is_picture, is_video


@dataclass(frozen=True, slots=True)
class PairedFrame:
    """A blurred picture, the sharp one of the same moment, and the number of the frame in its source.

    For videos both paths are those of the files, and `number` counts their frames from 0.
    """

    blur: Path
    sharp: Path
    number: int


@dataclass(frozen=True, slots=True)
class PairedClip:
    """Frames of one shot in the order of their numbers; `name` is the path below the root."""

    name: str
    frames: tuple[PairedFrame, ...]

    @property
    def is_video(self) -> bool:
        """Two video files, rather than two series of pictures."""
        return bool(self.frames) and not is_picture(self.frames[0].blur)


# What a side's own name adds to the names of its pictures: blur_1.png and gt_1.png are partners.
_SIDE_WORD = re.compile(r"(?:^|(?<=[_\-. ]))(real_blur|avg_blur|gt_sharp|blurred|blur|sharp|gt)(?=$|[_\-. ])")
_NUMBER = re.compile(r"\d+(?=\D*$)")
_LINE = re.compile(r"\s*(\S+)\s+(\S+)(?:\s.*)?")
_SHARP_PART = re.compile(r"(\w+_)?(gt|sharp|target)", re.IGNORECASE)
_BLUR_PART = re.compile(r"\w*blur\w*|input|avg65_img", re.IGNORECASE)


def in_folders(name: str, blur: Path, sharp: Path, faults: list[str]) -> Iterator[PairedClip]:
    """The clips of two folders: pictures, videos, or sub-folders of either with equal names."""
    for kind, pair in ((is_picture, _pictures), (is_video, _videos)):
        sides = [
            sorted(path for path in side.iterdir() if kind(path) and path.is_file()) for side in (blur, sharp)
        ]
        if any(sides):
            yield from pair(name, _partners(sides[0], sides[1], blur, sharp, faults), faults)
            return
    inner = [{path.name: path for path in folders(side)} for side in (blur, sharp)]
    if all("RGB" in side for side in inner):  # BSD: raw data lies beside the pictures
        yield from in_folders(name, inner[0]["RGB"], inner[1]["RGB"], faults)
        return
    if not any(inner):
        faults.append(f"{blur}: neither pictures nor videos in it")
    for folder in sorted(inner[0].keys() | inner[1].keys()):
        if folder not in inner[1]:
            faults.append(f"{inner[0][folder]}: no partner {sharp / folder}")
        elif folder not in inner[0]:
            faults.append(f"{inner[1][folder]}: no partner {blur / folder}")
        else:
            yield from in_folders(_joined(name, folder), inner[0][folder], inner[1][folder], faults)


def in_list(path: Path, faults: list[str]) -> Iterator[PairedClip]:
    """The clips of a list file: a line names a sharp and a blurred picture, in either order.

    Names are relative to the list's folder or one above it.  A clip is a folder that holds the sides.
    """
    clips: dict[str, list[PairedFrame]] = defaultdict(list)
    base: Path | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        names = _LINE.fullmatch(line)
        roles = [_role(word) for word in names.groups()] if names else []
        if names is None or sorted(roles) != ["blur", "sharp"]:
            faults.append(
                f"{path}, line {number}: no pair of a blurred and a sharp picture: {line.strip()[:120]}"
            )
            continue
        if base is None:
            base = _base(path, names[1])
        blur, sharp = (base / names[roles.index(role) + 1] for role in ("blur", "sharp"))
        missing = [side for side in (blur, sharp) if not side.is_file()]
        faults += [f"{side}: is not there ({path}, line {number})" for side in missing]
        if not missing:
            clip, index = _place(Path(names[roles.index("blur") + 1]))
            clips[clip].append(PairedFrame(blur, sharp, index))
    for clip, frames in sorted(clips.items()):
        yield PairedClip(clip, tuple(sorted(frames, key=lambda frame: frame.number)))


def is_list(path: Path) -> bool:
    """Whether a text file's first line names two pictures."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as lines:
        names = _LINE.fullmatch(lines.readline().rstrip("\n"))
    return names is not None and all(is_picture(Path(word)) for word in names.groups())


def video_clip(name: str, blur: Path, sharp: Path) -> PairedClip:
    """Two videos of equal length and size as a clip.

    Raises InputError, naming both, where they differ.
    """
    facts = video_facts(blur), video_facts(sharp)
    if facts[0][2] != facts[1][2]:
        raise InputError(f"{blur}: {facts[0][2]} frames, but {sharp} has {facts[1][2]}")
    if facts[0][:2] != facts[1][:2]:
        raise InputError(unequal(blur, facts[0][:2], sharp, facts[1][:2]))
    return PairedClip(name, tuple(PairedFrame(blur, sharp, index) for index in range(facts[0][2])))


def unequal(blur: Path, size: tuple[int, int], sharp: Path, other: tuple[int, int]) -> str:
    """The sentence for two sizes (height, width) that differ."""
    return f"{blur}: {size[1]}x{size[0]} pixels, but {sharp} has {other[1]}x{other[0]}"


def _partners(
    blur: Sequence[Path], sharp: Sequence[Path], blur_folder: Path, sharp_folder: Path, faults: list[str]
) -> list[tuple[str, Path, Path]]:
    """(what the names have in common, blurred, sharp); without a partner, or with two, they become faults."""
    for side in (blur, sharp):
        first: dict[str, Path] = {}
        for path in side:
            if first.setdefault(path.stem, path) != path:
                faults.append(
                    f"{path}: {first[path.stem].name} beside it has the same name; keep one of them"
                )
    keyed = [{path.stem: path for path in side} for side in (blur, sharp)]
    if not keyed[0].keys() & keyed[1].keys():
        bare = [{_SIDE_WORD.sub("", path.stem): path for path in side} for side in (blur, sharp)]
        if bare[0].keys() & bare[1].keys() and [len(side) for side in bare] == [len(blur), len(sharp)]:
            keyed = bare
    for own, other, folder in ((keyed[0], keyed[1], sharp_folder), (keyed[1], keyed[0], blur_folder)):
        faults += [f"{own[key]}: no partner in {folder}" for key in sorted(own.keys() - other.keys())]
    return [(key, keyed[0][key], keyed[1][key]) for key in sorted(keyed[0].keys() & keyed[1].keys())]


def _pictures(
    name: str, partners: Iterable[tuple[str, Path, Path]], faults: list[str]
) -> Iterator[PairedClip]:
    """A clip for each beginning that names share before their number: GOPR0384_11_00-000001 and the like."""
    clips: dict[str, list[PairedFrame]] = defaultdict(list)
    for position, (key, blur, sharp) in enumerate(partners):
        number = _NUMBER.search(key)
        before = key[: number.start()].rstrip("_-. ") if number else ""
        clips[before].append(PairedFrame(blur, sharp, int(number[0]) if number else position))
    for before, frames in sorted(clips.items()):
        frames.sort(key=lambda frame: frame.number)
        alone = len(clips) == 1 or not before
        yield PairedClip(name if alone else _joined(name, before), tuple(frames))


def _videos(name: str, partners: Iterable[tuple[str, Path, Path]], faults: list[str]) -> Iterator[PairedClip]:
    for key, blur, sharp in partners:
        try:
            yield video_clip(_joined(name, key), blur, sharp)
        except InputError as error:
            faults.append(str(error))


def _role(name: str) -> str:
    """Which side a listed picture is, by its nearest folder or name that says so."""
    path = Path(name)
    for part in (path.parent.name, path.stem, *(folder.name for folder in path.parents)):
        word = part.split("_")[0] if part == path.stem else part
        if _SHARP_PART.fullmatch(word):
            return "sharp"
        if _BLUR_PART.fullmatch(word):
            return "blur"
    return ""


def _place(blur: Path) -> tuple[str, int]:
    """(clip, frame number) of a listed picture: <clip>/blur/blur_7.png, <clip>/<number>/real_blur/x.png."""
    above = [part for part in blur.parts[:-1] if part != "RGB"]
    while above and _BLUR_PART.fullmatch(above[-1]):
        above.pop()
    number = _NUMBER.search(blur.stem)
    if number is None and above and above[-1].isdecimal():
        return "/".join(above[:-1]), int(above[-1])
    return "/".join(above), int(number[0]) if number else 0


def _base(path: Path, name: str) -> Path:
    """The folder that the names of a list start from."""
    for folder in path.resolve().parents[:4]:
        if (folder / name).is_file():
            return folder
    return path.parent


def folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _joined(name: str, part: str) -> str:
    return f"{name}/{part}" if name else part
