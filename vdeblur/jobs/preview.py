"""One frame before and after, side by side as a player shows it, in one PNG; nothing else is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from vdeblur.errors import InputError
from vdeblur.frame import Frame
from vdeblur.jobs.plan import Options, beside, check_options, filled
from vdeblur.video.clip import probe
from vdeblur.video.pictures import read_pictures, write_png
from vdeblur.video.reader import Reader


def preview(source: str, time: Fraction, target: Path | None, options: Options) -> Path:
    """Deblur the frame shown at `time` (seconds) and write `target` (default INPUT.preview.png).

    Raises InputError where the source has no frame at that time, and all that planning raises.
    """
    check_options(options)
    options = filled(options)
    clip = probe(source, video_stream=options.video_stream)
    target = target or beside(source, "preview.png")
    if target.suffix.lower() != ".png":
        raise InputError(f"-o {target}: a preview is a PNG, name it .png")
    if target.exists() and not options.overwrite:
        raise InputError(f"{target}: exists already (--overwrite replaces it)")

    from vdeblur.engine.deblurrer import Deblurrer

    frame: Frame | None
    if clip.pictures:
        frame = next(iter(read_pictures(clip)), None)
    else:
        with Reader(clip, start=time, end=None, deinterlace=options.deinterlace, keep_partial=True) as reader:
            frame = next(iter(reader), None)
    if frame is None:
        raise InputError(f"--preview {float(time):g}: {source} has no frame there")
    with Deblurrer.load(**options.engine()) as engine:
        after = next(iter(engine.deblur([frame])))
        pictures = [engine.rgb(shown) for shown in (frame, after)]
    turned = [np.rot90(picture, clip.picture.rotation // 90) for picture in pictures]
    write_png(target, np.rint(np.concatenate(turned, axis=1) * 255).astype(np.uint8))
    return target
