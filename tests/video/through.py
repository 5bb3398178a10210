"""A whole file through Reader and Writer in one thread, without the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vdeblur.frame import Frame
from vdeblur.video.carry import Carry, CarryPlan, plan_carry
from vdeblur.video.clip import Clip
from vdeblur.video.codecs import choose_output
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader
from vdeblur.video.sink import Sink
from vdeblur.video.writer import Writer


@dataclass(frozen=True)
class Gone:
    """What went through: the result, the decisions, and everything that was said."""

    target: Path
    clip: Clip
    choice: OutputChoice
    plan: CarryPlan
    said: str
    frames: int


def through(
    source: Path,
    target: Path | None = None,
    *,
    folder: Path | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    deinterlace: bool = False,
    change: Callable[[Frame], Frame] = lambda frame: frame,
    fast: bool = True,
    **wishes: Any,
) -> Gone:
    """`change` stands for the engine; without a target the name is made in `folder`."""
    clip = probe(str(source))
    if fast and "preset" not in wishes and wishes.get("codec") in (None, "h264"):
        wishes["preset"] = _fast(clip, target, wishes)
    choice = choose_output(clip, target, deinterlace=deinterlace, **wishes)
    target = target or (folder or source.parent) / f"{source.stem}.deblurred{choice.suffix}"
    plan = plan_carry(clip, choice)
    frames = 0
    with Reader(clip, start=start, end=end, deinterlace=deinterlace, wanted=plan.wanted) as reader:
        carry = Carry(plan, reader)
        reader.on_packet = carry.offer
        writer = Writer(Sink(target, choice, overwrite=True), clip, carry)
        try:
            for frame in reader:
                writer.write(change(frame))
                frames += 1
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        said = [*clip.warnings, *choice.notes, *plan.notes, *reader.warnings, *carry.warnings]
    return Gone(target, clip, choice, plan, "\n".join(said), frames)


def hashes(path: Path) -> dict[int, list[str]]:
    """The packets of every stream of a file, as digests in the order of the file."""
    found: dict[int, list[str]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                digest = hashlib.sha256(bytes(packet)).hexdigest()
                found.setdefault(packet.stream.index, []).append(digest)
    return found


def times(path: Path, stream: int = 0) -> list[Fraction]:
    """Presentation times of the decoded pictures of the n-th video stream, in seconds."""
    with av.open(str(path)) as container:
        video = container.streams.video[stream]
        return [frame.pts * frame.time_base for frame in container.decode(video)]


def leftovers(folder: Path) -> list[str]:
    """Hidden files: none may remain after a run, good or bad."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def _fast(clip: Clip, target: Path | None, wishes: dict[str, Any]) -> str | None:
    encoder = choose_output(clip, target, **wishes).encoder
    fast = {"libx264": "superfast", "libx265": "ultrafast", "libsvtav1": "12", "libvpx-vp9": "8"}
    return fast.get(encoder)
