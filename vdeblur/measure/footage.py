"""What is evaluated, as frames: series of pictures and videos, with their sharp partners or without."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vdeblur.data.layouts import PairedClip, read_layout
from vdeblur.data.opening import whole_clip
from vdeblur.data.partners import is_list
from vdeblur.errors import InputError
from vdeblur.frame import Frame
from vdeblur.video.clip import Clip
from vdeblur.video.pictures import is_pictures, probe_pictures, read_pictures
from vdeblur.video.reader import Reader

RATES_DIFFER = 0.02  # by more; means over a file's length are never quite the same


@dataclass(frozen=True, slots=True)
class Footage:
    """One clip to be evaluated; `sharp` is None where there is no truth to compare with.

    numbers   of the frames in their source; empty for videos, which are counted from 0
    """

    name: str
    blurred: Clip
    sharp: Clip | None
    numbers: tuple[int, ...] = ()

    @property
    def frames_expected(self) -> int | None:
        """From names or the header: for progress only."""
        return len(self.numbers) or self.blurred.picture.frames_from_header

    def remarks(self) -> Iterator[str]:
        """What should be known of the comparison."""
        rates = [clip.picture.rate for clip in (self.blurred, self.sharp) if clip is not None]
        one, two = rates if len(rates) == 2 else (None, None)
        if one and two and abs(two / one - 1) > RATES_DIFFER:
            yield (
                f"{self.name}: {float(one):.4g} and {float(two):.4g} frames a second; frames are compared "
                "by their numbers, whatever their times"
            )

    def number(self, index: int) -> int:
        return self.numbers[index] if self.numbers else index


def find_footage(data: Path, sharp: Path | None = None, *, blur: str | None = None) -> tuple[Footage, ...]:
    """The clips of a data set, of two folders or videos, or one video or folder without a sharp side.

    Raises InputError for what is not there, has no partner or does not open.
    """
    is_file = data.is_file() and not is_list(data)
    if sharp is None and blur is None and (is_file or is_pictures(str(data))):
        clip = whole_clip(data)
        return (Footage(data.stem, clip, None, tuple(range(len(clip.pictures)))),)
    return tuple(_paired(clip) for clip in read_layout(data, sharp, blur=blur))


def frames_of(clip: Clip, notes: list[str]) -> Iterator[Frame]:
    """The frames of one side, as the production path reads them; what is to be said of it goes to `notes`."""
    if clip.pictures:
        yield from read_pictures(clip)
        return
    with Reader(clip) as reader:
        yield from reader
        notes += [f"{clip.source}: {warning}" for warning in reader.warnings]


def side_by_side(
    footage: Footage, blurred: Iterator[Frame], sharp: Iterator[Frame] | None
) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame of the blurred side with its sharp partner (None without a sharp side).

    Raises InputError where sizes or lengths differ.
    """
    if footage.sharp is None or sharp is None:
        yield from ((frame, None) for frame in blurred)
        return
    names = footage.blurred.source, footage.sharp.source
    count = 0
    for frame in blurred:
        partner = next(sharp, None)
        if partner is None:
            raise InputError(f"{names[1]}: ends after {count} frames, {names[0]} goes on")
        sizes = [f"{side.layout.width}x{side.layout.height}" for side in (frame, partner)]
        if sizes[0] != sizes[1]:
            shown = [_name(clip, count) for clip in (footage.blurred, footage.sharp)]
            raise InputError(f"{shown[0]}: {sizes[0]} pixels, but {shown[1]} has {sizes[1]}")
        yield frame, partner
        count += 1
    if next(sharp, None) is not None:
        raise InputError(f"{names[0]}: ends after {count} frames, {names[1]} goes on")


def _paired(clip: PairedClip) -> Footage:
    if clip.is_video:
        frame = clip.frames[0]
        return Footage(clip.name, whole_clip(frame.blur), whole_clip(frame.sharp))
    return Footage(
        clip.name,
        _series([frame.blur for frame in clip.frames]),
        _series([frame.sharp for frame in clip.frames]),
        tuple(frame.number for frame in clip.frames),
    )


def _series(paths: Sequence[Path]) -> Clip:
    return dataclasses.replace(probe_pictures(str(paths[0])), pictures=tuple(str(path) for path in paths))


def _name(clip: Clip, index: int) -> str:
    return clip.pictures[index] if clip.pictures else f"{clip.source}, frame {index}"
