"""What names tell: in a folder a picture or a video by its suffix; named by itself, any file may be one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

JPEG = {".jpg", ".jpeg", ".jpe"}
PICTURES = JPEG | {".png", ".tif", ".tiff", ".bmp", ".webp"}
VIDEOS = {
    *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265"),
    *(".hevc", ".ivf", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm"),
    *(".wmv", ".wtv", ".y4m"),
}


def without_scheme(source: str) -> str:
    """`file:` addresses as the paths that they are; all else as it is."""
    return source[5:] if source.lower().startswith("file:") else source


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def is_result(path: Path) -> bool:
    """Whether the name is one that vdeblur gives beside a source; in a folder such files are no sources."""
    marks = path.suffixes[:-1]
    preview = path.suffix == ".png" and ".preview" in marks
    return ".deblurred" in marks or ".suspect" in marks or preview


def is_video(path: Path) -> bool:
    """Whether the name is that of a video; hidden files are none."""
    return path.suffix.lower() in VIDEOS and not path.name.startswith(".")


def files_below(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """All files of a tree but those in hidden folders (waste bins, thumbnails, unfinished runs).

    Links to folders elsewhere are followed, each folder once.
    """
    top = Path(folder).resolve()
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, onerror=onerror, followlinks=True):
        real = Path(place).resolve()
        if real in seen or (os.path.islink(place) and top in real.parents):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names)
