"""Segments: pieces of the deblurred stream that are files of their own, cut by a fixed rule.

A segment is a whole encode of its frames, so it begins with a key frame and needs nothing from others
(a closed GOP), and where it ends depends on the frames alone, never on when a run was stopped.  Its file
plays in any player, with times from zero; the exact times stand in `Segment`.  `joining` puts them together.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import av

from vdeblur.errors import VdeblurError
from vdeblur.frame import Frame
from vdeblur.video.clip import Clip
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.sink import Sink
from vdeblur.video.trust import options_for_file
from vdeblur.video.writer import Alone, Writer


@dataclass(frozen=True, slots=True)
class Rule:
    """A segment ends as soon as it has both this length and this many frames.

    Shorter ones lose less work when a run is killed, longer ones cost less in size (docs/resume.md).
    """

    seconds: Fraction = Fraction(20)
    frames: int = 250


class Borders:
    """Goes along with the frames of a run; each thread that wants to know has its own."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._first_pts: int | None = None
        self.position = 0  # of the latest frame in its segment

    def begins(self, frame: Frame) -> bool:
        """Whether a segment begins with this frame; to be asked once for every frame."""
        self.position += 1
        if self._first_pts is not None:
            length = (frame.pts - self._first_pts) * frame.time_base
            if length < self._rule.seconds or self.position < self._rule.frames:
                return False
        self._first_pts, self.position = frame.pts, 0
        return True


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished piece: its file, and what the file alone does not tell exactly.

    file       name in the folder of segments; bytes, digest: of what is in it
    header     digest of the encoder's parameter sets, the same in all segments of a stream
    times, durations, fates   of its frames, in order of presentation, in the stream's time base
    order      for each packet of the file the number of its frame
    """

    file: str
    bytes: int
    digest: str
    header: str
    times: array[int]
    durations: array[int]
    fates: tuple[str, ...]
    order: array[int]

    @property
    def depth(self) -> int:
        """By how many packets decoding runs ahead of showing."""
        return max(place - number for place, number in enumerate(self.order))


@dataclass(frozen=True, slots=True)
class _Open:
    """A segment that is being written, and what its frames were."""

    path: Path
    writer: Writer
    times: array[int] = field(default_factory=lambda: array("q"))
    durations: array[int] = field(default_factory=lambda: array("q"))
    fates: list[str] = field(default_factory=list)


class SegmentWriter:
    """Frames into segments in a folder: `write` every frame in order, then `finish`; or `abandon`.

    An encoder that is emptied gives back the 50 frames or so that it looks ahead.  A thread of its own does
    that, one segment at a time, while the next one begins.

    number   of the first segment
    sparing  whether a segment begins when the one before is closed: two encoders take more memory than one
    done     is called by that thread with every finished segment, and whether it is the last one
    """

    def __init__(
        self,
        target: Path,
        clip: Clip,
        choice: OutputChoice,
        *,
        folder: Path,
        rule: Rule,
        number: int,
        sparing: bool,
        done: Callable[[Segment, bool], None],
    ) -> None:
        self._target, self._clip, self._choice = target, clip, playable(choice)
        self._folder, self._number, self._sparing, self._done = folder, number, sparing, done
        self._borders = Borders(rule)
        self._segment: _Open | None = None
        self._closer = ThreadPoolExecutor(1, "segment")
        self._closing: Future[None] | None = None

    def write(self, frame: Frame) -> None:
        """Encode one frame; the planes are read during the call only."""
        if self._borders.begins(frame):
            self._close(last=False)
            self._segment = self._open()
        elif self._closing is not None and self._closing.done():
            self._settle()
        segment = self._segment
        assert segment is not None
        moved = frame.pts - (segment.times[0] if segment.times else frame.pts)
        segment.times.append(frame.pts)
        segment.durations.append(frame.duration)
        segment.fates.append(frame.fate.value)  # one string for all
        segment.writer.write(dataclasses.replace(frame, pts=moved))

    def finish(self) -> None:
        """Close the last segment; all of them are finished then."""
        self._close(last=True)
        self._settle()
        self._closer.shutdown()

    def abandon(self) -> None:
        """Leave the finished segments and nothing else behind; never raises."""
        self._closer.shutdown()
        if self._segment is not None:
            self._segment.writer.abandon()

    def _open(self) -> _Open:
        path = self._folder / f"{self._number:06d}{self._choice.suffix}"
        self._number += 1
        sink = Sink(self._target, self._choice, approve=lambda hidden: path, folder=self._folder)
        return _Open(path, Writer(sink, self._clip, Alone()))

    def _close(self, *, last: bool) -> None:
        self._settle()
        if self._segment is not None:
            segment, self._segment = self._segment, None
            self._closing = self._closer.submit(self._end, segment, last)
            if self._sparing:
                self._settle()

    def _settle(self) -> None:
        """Wait for the segment that is being closed, if there is one; raises what went wrong with it."""
        if self._closing is not None:
            closing, self._closing = self._closing, None
            closing.result()

    def _end(self, made: _Open, last: bool) -> None:
        try:
            made.writer.finish()
        except BaseException:
            made.writer.abandon()
            raise
        size, file_digest = digest_of(made.path)
        header, pictures = _look(made.path)
        if pictures != len(made.times):
            raise VdeblurError(
                f"{self._target}: {self._choice.encoder} made {pictures} pictures of {len(made.times)}; "
                "choose another --codec"
            )
        segment = Segment(
            file=made.path.name,
            bytes=size,
            digest=file_digest,
            header=header,
            times=made.times,
            durations=made.durations,
            fates=tuple(made.fates),
            order=_ranks(made.writer.shown),
        )
        self._done(segment, last)


def playable(choice: OutputChoice) -> OutputChoice:
    """The same encoder in a container that begins anywhere and holds its parameter sets apart."""
    if choice.container == "mpegts":
        choice = dataclasses.replace(choice, container="mp4", suffix=".mp4")
    return dataclasses.replace(choice, container_options={})


def digest_of(path: Path) -> tuple[int, str]:
    """(bytes, digest) of a file, read through."""
    found, size = blake2b(digest_size=16), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
            size += len(block)
    return size, found.hexdigest()


def _look(path: Path) -> tuple[str, int]:
    """Digest of the parameter sets, and how many pictures there are."""
    with av.open(f"file:{path}", options=options_for_file()) as container:
        stream = container.streams.video[0]
        header = blake2b(stream.codec_context.extradata or b"", digest_size=16).hexdigest()
        return header, sum(1 for packet in container.demux(stream) if packet.size)


def _ranks(shown: array[int]) -> array[int]:
    """For each packet the number of its frame, by the times of showing.

    By those that the encoder gave: in a file that counts in milliseconds two frames may have the same.
    """
    number = {place: n for n, place in enumerate(sorted(range(len(shown)), key=shown.__getitem__))}
    return array("q", (number[place] for place in range(len(shown))))
