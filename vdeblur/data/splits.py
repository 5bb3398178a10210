"""Which clips are trained on and which judge: always whole clips, never single frames of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from zlib import crc32

from vdeblur.data.layouts import pair_size
from vdeblur.data.partners import PairedClip
from vdeblur.errors import InputError

HELD_OUT = 10  # one clip in so many judges where the data set has no part for it
LOOKED_AT = 24  # clips whose first pair is opened before the run

Files = list[tuple[Path, Path]]


def split(
    clips: Sequence[PairedClip], wanted: Sequence[str], root: Path
) -> tuple[list[PairedClip], list[PairedClip]]:
    """Clips to train on, and clips to judge by; the latter may be empty.

    wanted   beginnings of names of clips that judge; without any: those of val/, else test/, else one clip
             in ten by the checksum of its name; of a single clip none

    Raises InputError where nothing is left to train on, or the clips are videos.
    """
    for clip in clips:
        if clip.is_video:
            raise InputError(
                f"{clip.frames[0].blur}: training reads pictures, not videos, for it needs frames in any "
                "order; unpack both sides first, for example ffmpeg -i VIDEO FOLDER/%08d.png"
            )
    unknown = [word for word in wanted if not any(clip.name.startswith(word) for clip in clips)]
    if unknown:
        raise InputError(f"{root}: no clip whose name begins with {unknown[0]!r} (setting validation)")
    judges = _judges(clips, wanted)
    training = [clip for clip in clips if clip.name not in judges]
    if not training:
        raise InputError(f"{root}: all clips judge, none is left to train on (setting validation)")
    return training, [clip for clip in clips if clip.name in judges]


def files(clips: Sequence[PairedClip], *, balanced: bool = False) -> Files:
    """(blurred, sharp) files of all frames; `balanced`: those of shorter clips again, so many of each."""
    longest = max((len(clip.frames) for clip in clips), default=0)
    return [
        (frame.blur, frame.sharp)
        for clip in clips
        for frame in (islice(cycle(clip.frames), longest) if balanced else clip.frames)
    ]


def check_sizes(clips: Sequence[PairedClip], crop: int) -> None:
    """InputError for the first of some clips whose first pair does not open or is smaller than a crop."""
    for clip in clips[:: max(1, len(clips) // LOOKED_AT)]:
        height, width = pair_size(clip.frames[0])
        if min(height, width) < crop:
            raise InputError(
                f"{clip.frames[0].blur}: {width}x{height} pixels, smaller than the crop of {crop}; "
                "give a smaller --crop"
            )


def _judges(clips: Sequence[PairedClip], wanted: Sequence[str]) -> set[str]:
    names = [clip.name for clip in clips]
    if wanted:
        return {name for name in names if name.startswith(tuple(wanted))}
    for part in ("val", "valid", "test"):
        inside = {name for name in names if name.split("/")[0] == part}
        if inside and len(inside) < len(names):
            return inside
    if len(names) == 1:
        return set()
    by_chance = sorted(names, key=lambda name: (crc32(name.encode()), name))
    return set(by_chance[: max(1, len(names) // HELD_OUT)])
