"""How large a picture or video is and whether it is whole, found without decoding all of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vdeblur.errors import InputError
from vdeblur.video.names import JPEG
from vdeblur.video.picture_files import is_cut_jpeg

if TYPE_CHECKING:
    from vdeblur.video.clip import Clip


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture that is whole: checksums of a PNG, the end of a JPEG.

    Raises InputError, naming it, for what is no picture, damaged or cut off.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if path.suffix.lower() in (".png", *JPEG):
                picture.verify()
            else:
                picture.load()
        if is_cut_jpeg(path):
            raise InputError(f"{path}: the picture is cut off")
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture, or damaged from its start") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such picture") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a picture, or damaged ({_first_line(error)})") from error
    return height, width


def video_facts(path: Path) -> tuple[int, int, int]:
    """(height, width, frames) of a video; frames are counted as packets, but those that an edit list hides.

    Raises InputError, naming it, for what is no readable video.
    """
    from vdeblur.video.source import demux, opened

    clip = whole_clip(path)
    with opened(str(path)) as container:
        stream = container.streams[clip.picture.index]
        frames = sum(1 for packet in demux(container, stream) if packet.size and not packet.is_discard)
    return clip.picture.layout.height, clip.picture.layout.width, frames


def whole_clip(path: Path) -> Clip:
    """What probing finds; a video that breaks off is refused (InputError), for figures of a part mislead."""
    from vdeblur.video.probing import probe

    clip = probe(str(path))
    if clip.broken is not None:
        raise InputError(f"{path}: the video breaks off ({clip.broken}); cut it to its whole part first")
    return clip


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
