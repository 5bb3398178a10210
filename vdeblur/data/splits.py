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
PARTS = (
    {"val", "valid", "validation"},
    {"test"},
)  # folders of which nothing is learnt; the first there judges
LOOKED_AT = 24  # clips whose first pair is opened before the run

Files = list[tuple[Path, Path]]


def split(
    clips: Sequence[PairedClip], wanted: Sequence[str], root: Path
) -> tuple[list[PairedClip], list[PairedClip]]:
    """Clips to train on, and clips to judge by; the latter may be empty.

    Beside others, clips of val/ and test/ are never trained on, wherever in the tree these folders are.

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
    parts = [{clip.name for clip in clips if words & set(_folders(clip))} for words in PARTS]
    names = {clip.name for clip in clips}
    if not names - set().union(*parts):
        parts = []  # val/ or test/ alone is a set like any other
    if wanted:
        judges = {name for name in names if name.startswith(tuple(wanted))}
    else:
        judges = next((part for part in parts if part), set()) or _by_chance(names)
    training = [clip for clip in clips if clip.name not in judges.union(*parts)]
    if not training:
        raise InputError(
            f"{root}: none is left to train on: all clips judge (setting validation) or are in val/ or test/"
        )
    return training, [clip for clip in clips if clip.name in judges]


def left_out(clips: Sequence[PairedClip], taken: Sequence[PairedClip]) -> str:
    """What to say of clips that are not among those taken; "" where there are none."""
    names = {clip.name for clip in taken}
    others = [clip for clip in clips if clip.name not in names]
    parts = sorted({part for clip in others for part in _folders(clip)} & set().union(*PARTS))
    said = "1 clip" if len(others) == 1 else f"{len(others)} clips"
    return f"{said} of {'/, '.join(parts)}/: not learnt from, nor judged by" if others else ""


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


def _folders(clip: PairedClip) -> list[str]:
    """The parts of a clip's name, in small letters."""
    return clip.name.casefold().split("/")


def _by_chance(names: set[str]) -> set[str]:
    if len(names) == 1:
        return set()
    ordered = sorted(names, key=lambda name: (crc32(name.encode()), name))
    return set(ordered[: max(1, len(names) // HELD_OUT)])
