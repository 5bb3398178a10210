"""What a comparison of two files found, as values that can be printed, written and tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vdeblur.errors import presentable
from vdeblur.video.alignment import Times


@dataclass(frozen=True, slots=True)
class Fault:
    """Damage: what differs, at which second of the source (None: everywhere or nowhere), and how."""

    what: str
    where_s: float | None
    detail: str

    def line(self) -> str:
        """`audio 1 (eng) at 0.43 s: 1 of 20 packets missing`."""
        where = "" if self.where_s is None else f" at {self.where_s:.2f} s"
        return presentable(f"{self.what}{where}: {self.detail}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was found: streams and chapters that are the same, frames at their time of how many, the rest.

    `timed` is False where the source has no times that could be kept, so that frames were only counted;
    `skipped` says why nothing was compared, where that is so.  `alike` counts the pictures of the result that
    look as they should, and `like` says how; None where nobody looked.
    """

    kept: Mapping[str, int] = field(default_factory=dict)
    frames_on_time: int = 0
    frames: int = 0
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    timed: bool = True
    skipped: str | None = None
    alike: int | None = None
    like: str = ""

    def line(self) -> str:
        """`kept: 3 audio, 2 chapters; 1432 of 1432 frames on time`."""
        looked = "" if self.alike is None else f"; {self.alike} pictures {self.like}"
        if self.skipped is not None:
            return f"not verified: {self.skipped}{looked}"
        words = [f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in self.kept.items()]
        kept = f"{', '.join(words)}; " if words else ""
        how = "on time" if self.timed else "counted, as the source has no times to keep"
        return f"kept: {kept}{self.frames_on_time} of {self.frames} frames {how}{looked}"

    def report(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "kept": dict(self.kept),
            "frames": self.frames,
            "frames_on_time": self.frames_on_time,
            "timed": self.timed,
            "notes": list(self.notes),
            "faults": [{"what": f.what, "where_s": f.where_s, "detail": f.detail} for f in self.faults],
            "skipped": self.skipped,
            "pictures_alike": self.alike,
        }


@dataclass(frozen=True, slots=True)
class Announced:
    """What a run knows of itself, so that it counts as no fault.

    index    the stream that was deblurred
    dropped  streams that were left out or made anew, by index, and why
    frames   times of the frames that the source gave, where it is damaged and decoders may disagree
    once     whether the source could be read only once, so that nobody can ask it again
    resized  whether the size of the picture was changed on purpose
    progressive  whether interlaced pictures were made progressive on purpose
    lasts    whether the last frame's own duration can be relied on
    """

    index: int
    dropped: Mapping[int, str] = field(default_factory=dict)
    frames: Times | None = None
    once: bool = False
    resized: bool = False
    progressive: bool = False
    lasts: bool = True
