"""Folders, patterns and single pictures: read as frames, written as pictures of the same kind and name.

PNG keeps 16 bits and all its chunks, JPEG its chroma subsampling, EXIF and colour profile (at quality 95),
TIFF 16 bits and the usual tags; alpha passes through.  Pictures are never turned: orientation stays a tag.
A run's results are gathered beside the target and take their names when all of them are whole.
Sizes and formats may differ from picture to picture: every Frame has a layout of its own.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av

from vdeblur.errors import BrokenSourceError, InputError, TargetExistsError, VdeblurError
from vdeblur.frame import Fate, Frame, PlaneLayout
from vdeblur.video import formats, trust
from vdeblur.video.clip import Clip, Colour, Picture, Stream
from vdeblur.video.names import JPEG, PICTURES, files_below, is_picture, is_result, is_video
from vdeblur.video.picture_files import encode, is_cut_jpeg, refuse_several
from vdeblur.video.sink import check_folder
from vdeblur.video.source import is_url

INSIDE = "pictures"  # stands for a folder's own name inside it
_TICK = Fraction(1, 25)  # pictures have no time; messages count them
_PRINTF = re.compile(r"%(0\d+)?d")


def is_pictures(source: str) -> bool:
    """Whether the source is a picture, a pattern of them, or a folder that holds pictures and no videos."""
    if source == "-" or is_url(source):
        return False
    path = Path(source)
    if path.is_dir():
        return any(_is_picture(p) for p in path.iterdir()) and not any(map(is_video, files_below(path)))
    return path.suffix.lower() in PICTURES


def probe_pictures(source: str) -> Clip:
    """Look at a set of pictures: their names, and the first one decoded."""
    paths = _paths(source)
    frame, codec, container = _decode(paths[0])
    pix_fmt, rotation = frame.format.name, int(frame.rotation)
    _, loss = formats.lossless_form(pix_fmt)
    frame, layout = _shaped(frame)
    colour = Colour(
        int(frame.color_range), int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)
    )
    picture = Picture(
        index=0,
        codec=codec,
        pix_fmt=pix_fmt,
        layout=layout,
        colour=colour,
        time_base=_TICK,
        first_pts=0,
        frames_from_header=len(paths),
        rotation=rotation,
    )
    return Clip(
        source=source,
        container=container,
        streams=(Stream(0, "video", codec, time_base=_TICK),),
        picture=picture,
        size_bytes=sum(path.stat().st_size for path in paths),
        warnings=() if loss is None else (loss,),
        pictures=tuple(str(path) for path in paths),
    )


def read_pictures(
    clip: Clip, first: int = 0, damaged: Callable[[InputError], None] | None = None
) -> Iterator[Frame]:
    """The pictures in natural order of their names, from this number on, times counting them.

    `damaged` hears of each that cannot be read, which is left out then; without it the error is raised.
    """
    for index, name in enumerate(clip.pictures[first:], first):
        try:
            frame, layout = _shaped(_decode(Path(name))[0])
        except InputError as error:
            if damaged is None:
                raise
            damaged(error)
            continue
        frame.make_writable()
        yield Frame(formats.views(frame), layout, index, _TICK, 1, index, side=frame)


def default_target(clip: Clip) -> Path:
    """Beside the source: `shots.deblurred/` for a folder or pattern, `a.deblurred.png` for a picture."""
    first = Path(clip.pictures[0])
    if _is_single(clip):
        return first.with_name(f"{first.stem}.deblurred{first.suffix}")
    folder = first.parent.resolve()
    return folder.with_name(f"{folder.name}.deblurred")


def check_target(clip: Clip, target: Path, *, overwrite: bool = False, new_folder: bool = False) -> None:
    """Refuse, before anything is done, a target that must not or cannot be written.

    Raises TargetExistsError for one that is there already, InputError otherwise. With `new_folder` the
    run will make the folders above; then the nearest one that exists must take them.
    """
    folder = target.parent if _is_file(clip, target) else target
    if folder != target and target.suffix.lower() not in PICTURES:
        raise InputError(f"{target}: not the name of a picture ({', '.join(sorted(PICTURES))})")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; several pictures are written into a folder")
    above = folder if folder.is_dir() or folder == target.parent else folder.parent
    check_folder(target, above, new_folder=new_folder)
    goals: dict[Path, str] = {}
    for source in clip.pictures:
        goal = _goal(clip, target, source)
        if (other := goals.setdefault(goal, source)) != source:
            raise InputError(f"{other} and {source}: both would be written to {goal}; deblur them one by one")
        if not goal.exists():
            continue
        if os.path.samefile(goal, source):
            raise InputError(f"{goal}: source and target are the same picture; name another folder with -o")
        if not overwrite:
            raise TargetExistsError(goal)


def place_of(clip: Clip, target: Path) -> Path:
    """A name in the target's own file system: hidden ones beside it can be renamed to targets in one step."""
    return target / INSIDE if target.is_dir() else target


class PictureWriter:
    """Writes each frame as the picture it came from; `finish` gives the names.

    target   a folder, or a file for a single picture
    parts    a folder, in the target's file system, where they are gathered
    """

    def __init__(self, target: Path, clip: Clip, *, parts: Path, overwrite: bool = False) -> None:
        check_target(clip, target, overwrite=overwrite)
        self._target, self._clip, self._parts = target, clip, parts
        self._done: list[tuple[Path, Path]] = []

    def take_over(self, numbers: Iterable[int]) -> None:
        """Go on after these pictures, which are among the parts already."""
        self._done = [self._part_and_goal(index) for index in numbers]

    def write(self, frame: Frame) -> Path:
        """Encode one frame into the format that its target's name says; returns the part."""
        source = Path(self._clip.pictures[frame.index])
        part, goal = self._part_and_goal(frame.index)
        try:
            self._parts.mkdir(exist_ok=True)
            if _is_untouched(frame) and source.suffix.lower() == goal.suffix.lower():
                shutil.copyfile(source, part)  # rather than coding a JPEG anew for nothing
            else:
                encode(frame, source, part)
        except OSError as error:
            raise VdeblurError(f"{goal}: cannot be written ({error.strerror or error})") from error
        self._done.append((part, goal))
        return part

    def _part_and_goal(self, index: int) -> tuple[Path, Path]:
        goal = _goal(self._clip, self._target, self._clip.pictures[index])
        return self._parts / f"{index:08d}{goal.suffix}", goal

    def finish(self) -> Path:
        """All results take their names; the folder, or the file of a single picture."""
        try:
            for part, goal in self._done:
                goal.parent.mkdir(exist_ok=True)
                os.replace(part, goal)
        except OSError as error:
            raise VdeblurError(f"{self._target}: cannot be written ({error.strerror})") from error
        if _is_single(self._clip):
            return _goal(self._clip, self._target, self._clip.pictures[0])
        return self._target


def _is_untouched(frame: Frame) -> bool:
    """The engine let the picture pass, and nobody put another one beside it (the size tells)."""
    if frame.fate not in (Fate.PASSED, Fate.SHARP, Fate.REFUSED) or not isinstance(frame.side, av.VideoFrame):
        return False
    return (frame.side.width, frame.side.height) == (frame.layout.width, frame.layout.height)


def _paths(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        found = [p for p in path.iterdir() if _is_picture(p)]
    elif path.is_file():
        found = [path]
    elif place := _PRINTF.search(path.name):
        before, after = path.name[: place.start()], path.name[place.end() :]
        number = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        found = [p for p in path.parent.glob("*") if number.fullmatch(p.name)] if path.parent.is_dir() else []
    else:
        found = [Path(name) for name in glob.glob(source) if _is_picture(Path(name))]
    if not found:
        pattern = any(letter in source for letter in "*?[%")
        raise InputError(f"{source}: no picture fits this pattern" if pattern else f"{source}: no such file")
    own = [p for p in found if not is_result(p)]
    return sorted(own or found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """img2 before img10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], path.name


def _is_picture(path: Path) -> bool:
    return is_picture(path) and path.is_file()


def _is_single(clip: Clip) -> bool:
    return len(clip.pictures) == 1 and Path(clip.pictures[0]) == Path(clip.source)


def _is_file(clip: Clip, target: Path) -> bool:
    """Whether the target is the name of one picture, and no folder."""
    return _is_single(clip) and not target.is_dir()


def _goal(clip: Clip, target: Path, source: str) -> Path:
    return target if _is_file(clip, target) else target / Path(source).name


def _decode(path: Path) -> tuple[av.VideoFrame, str, str]:
    """(picture, codec, FFmpeg's name of the container)."""
    refuse_several(path)
    try:
        with av.open(
            f"file:{path}", metadata_errors="surrogateescape", options=trust.options_for_picture()
        ) as container:
            trust.refuse_excess(container, str(path))
            for frame in container.decode(video=0):
                if frame.is_corrupt or is_cut_jpeg(path):
                    raise BrokenSourceError(f"{path}: the picture is damaged or cut off")
                if path.suffix.lower() in JPEG and frame.format.name in ("gbrap", "yuva444p"):
                    raise InputError(f"{path}: a CMYK picture; convert it to RGB first")
                return frame, container.streams.video[0].codec_context.codec.name, container.format.name
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (av.FFmpegError, ValueError, IndexError):
        pass
    raise InputError(f"{path}: not a picture, or damaged beyond reading")


def _shaped(frame: av.VideoFrame) -> tuple[av.VideoFrame, PlaneLayout]:
    """The picture in a form that the engine can read, and how to read it."""
    name = frame.format.name
    form, _ = formats.lossless_form(name)
    if form != name:
        frame = frame.reformat(format=form)
    # FFmpeg gives palettes and lossless WebP always with alpha; most do not use it.
    alpha = {"pal8": 3, "argb": 0}.get(name)
    if alpha is not None and (formats.views(frame)[0][..., alpha] == 255).all():
        form = "rgb24"
        frame = frame.reformat(format=form)
    frame = formats.upright(frame)
    # Pictures are full range unless they say otherwise, as lossy WebP does.
    tag = 1 if frame.color_range == 1 else 2
    return frame, formats.layout_of(
        form, frame.width, frame.height, range_tag=tag, matrix_tag=int(frame.colorspace)
    )
