"""One frame before and after, side by side as a player shows it, in one PNG; nothing else is written."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from vdeblur.errors import InputError
from vdeblur.frame import Frame, Plane
from vdeblur.jobs.network import sharpened
from vdeblur.jobs.plan import Options, beside, check_options, filled
from vdeblur.video.clip import Clip
from vdeblur.video.names import without_scheme
from vdeblur.video.picture_files import write_png
from vdeblur.video.pictures import read_pictures
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader
from vdeblur.video.sink import check_target, hidden_beside, speaking


def preview(source: str, time: Fraction, target: Path | None, options: Options) -> Path:
    """Deblur the frame shown at `time` (seconds) and write `target` (default INPUT.preview.png).

    Raises InputError where the source has no frame at that time, and all that planning raises.
    """
    check_options(options)
    options, source = filled(options), without_scheme(source)
    clip = probe(source, video_stream=options.video_stream)
    target = target or beside(source, "preview.png")
    if target.suffix.lower() != ".png":
        raise InputError(f"-o {target}: a preview is a PNG, name it .png")
    if clip.pictures and time:
        raise InputError(f"--preview {float(time):g}: pictures have no times; name one, with --preview 0")
    for other in clip.pictures or (source,):
        check_target(target, other, overwrite=options.overwrite)

    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.engine.staging import rgb_of

    frame = next(read_pictures(clip), None) if clip.pictures else _shown_at(time, clip, options.deinterlace)
    if frame is None:
        raise InputError(f"--preview {float(time):g}: {source} has no frame there")
    with Deblurrer.load(**options.engine()) as engine:
        after = next(sharpened(engine, [frame], options))
        pictures = [rgb_of(shown) for shown in (frame, after)]
    turned = [np.rot90(picture, clip.picture.rotation // 90) for picture in pictures]
    _write(target, np.rint(np.concatenate(turned, axis=1) * 255).astype(np.uint8))
    return target


def _write(target: Path, picture: Plane) -> None:
    """Whole or not at all."""
    unfinished = hidden_beside(target)
    with speaking(target):
        try:
            write_png(unfinished, picture)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)


def _shown_at(time: Fraction, clip: Clip, deinterlace: bool) -> Frame | None:
    """The last frame that begins at or before `time`, unless it is the last of all and has ended."""
    for back_s in (1, 10, None):  # how far before it to look; None: from the start
        start = None if back_s is None or back_s >= time else time - back_s
        found: Frame | None = None
        with Reader(clip, start=start, deinterlace=deinterlace, keep_partial=True) as reader:
            for frame in reader:
                begin = frame.pts * frame.time_base + reader.shift - reader.origin
                if begin > time:
                    break
                found, end = frame, begin + frame.duration * frame.time_base
            else:
                if found is not None and end <= time:
                    return None
        if found is not None or start is None:
            return found
    return None
