"""A clip's pictures as Frames, and the packets of its other streams handed over on the way.

One thread uses a Reader.  It promises: every picture that decodes, once, in order of presentation, with
strictly increasing integer times (`pace`), in one layout (`clip.picture.layout`); planes that are views of
the decoded picture, which travels along as `side`, so that a writer can put the result back in place and
keep what hangs on it.  A source that breaks off raises BrokenSourceError, or ends with a warning under
`keep_partial`.

A frame-threaded decoder that is dropped undrained can hang for ever once FFmpeg's logging is on: `close`
flushes first, and nothing here touches the logging.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer

from vdeblur.errors import VdeblurError
from vdeblur.frame import Frame
from vdeblur.video import formats
from vdeblur.video.clip import Clip, broken_source
from vdeblur.video.contents import Contents, Packet
from vdeblur.video.decoding import Decoding, OnPacket
from vdeblur.video.fitting import Fitting, deinterlaced
from vdeblur.video.pace import MADE, MOVED, RESTARTED, Stamped, Timed, paced

INTERLACED = "interlaced: both fields of a picture are deblurred as one; --deinterlace makes it progressive"

_MISSED = Fraction(1, 10)  # seconds without a picture where a range begins

_LATE_FIELDS = (
    "pictures are interlaced from some place on: their lines are kept, but are no longer said to be fields; "
    "--deinterlace makes them progressive"
)


@dataclass(frozen=True, slots=True)
class Done:
    """What an earlier reading has given already, and how to find that place again.

    times     of all those frames, as they were given
    moved     what was taken off the source's own times, in its time base
    enter     number of a frame from which on the source may be read again instead of from its start:
              times were the file's own up to there, and nothing was damaged
    check     number and digest of a frame shortly behind it
    warnings  said then
    """

    times: Sequence[int]
    moved: int = 0
    enter: int | None = None
    check: tuple[int, str] | None = None
    warnings: tuple[str, ...] = ()


def digest(frame: Frame) -> str:
    """Of all planes: equal for equal pictures."""
    found = blake2b(digest_size=16)
    for plane in frame.planes:
        found.update(plane.tobytes())
    return found.hexdigest()


class Reader:
    """Iterate once for the frames of a clip.

    start, end   seconds from where the file starts; the frames from `start` up to, not including, `end`.
                 A still picture that is on screen at `start`, and would be missed there, begins with it
    deinterlace  interlaced pictures become progressive ones, one for each
    keep_partial a source that breaks off ends early instead of failing
    done         frames that are not wanted again: those that follow are given, as if they had been
    gathers      note what is read (see `gathered`): for a source that cannot be read again

    on_packet    to be set: takes the packets of the streams in `wanted`, in the order of the file.  Those of
                 a range are among others: where it begins is known with its first frame
    origin, span seconds on the source's own clock: where it starts, and the range, None where it is open
    shift        seconds taken off all times (0 unless a range was asked for); set before the first frame
                 is given, so that the other streams can be cut and moved alike
    warnings     sentences, each once, growing while frames are read
    """

    def __init__(
        self,
        clip: Clip,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        deinterlace: bool = False,
        wanted: frozenset[int] = frozenset(),
        keep_partial: bool = False,
        done: Done | None = None,
        gathers: bool = False,
    ) -> None:
        if not keep_partial:
            clip.refuse_broken()
        self.clip = clip
        self.on_packet: OnPacket | None = None
        self.moved = 0  # the shift in units of the time base
        self._done = done
        self.warnings: list[str] = [] if done is None else list(done.warnings)
        if clip.broken is not None:
            self._warn(f"the source breaks off ({clip.broken}): only what is there is used")
        if clip.picture.interlaced and not deinterlace:
            self._warn(INTERLACED)
        self._keep_partial = keep_partial
        self._deinterlace = deinterlace
        self._decoding = Decoding(clip, self._offer, wanted, steady=keep_partial, gathers=gathers)
        self.origin = self._decoding.origin
        self.span = self._decoding.span(start, end)
        self._until_s: float | None = None  # the end of the last good frame
        self._fitting = Fitting(clip, self._warn)
        if self.span[0] is not None:
            try:
                # Here, not when frames are asked for: it may open the source anew, and `container` must last.
                self._decoding.seek(self.span[0])
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def container(self) -> InputContainer:
        """The open container: templates for copies; never demux it from outside."""
        return self._decoding.container

    @property
    def shift(self) -> Fraction:
        """See above."""
        return self.moved * self._decoding.tick

    @property
    def corrupt_frames(self) -> int:
        """Pictures that the decoder gave with errors in them."""
        return self._decoding.corrupt_frames

    @property
    def failed_packets(self) -> int:
        """Packets of the video that did not decode at all."""
        return self._decoding.failed_packets

    def gathered(self) -> Contents | None:
        """All that was read, after the last frame; None unless it `gathers`."""
        gathering, clip = self._decoding.gathering, self.clip
        return None if gathering is None else gathering.contents(clip.source, clip.picture, broken=False)

    @property
    def follows_the_file(self) -> bool:
        """Whether all times so far were the file's own and no picture was damaged: it can be entered anew."""
        made = {MADE, MOVED, RESTARTED}.isdisjoint(self.warnings)
        return made and not self.corrupt_frames and not self.failed_packets

    def close(self) -> None:
        """Let go of the source; may be called twice."""
        self._decoding.close()

    def __iter__(self) -> Iterator[Frame]:
        done = self._done
        frames = self._chosen() if done is None else self._after(done)
        for index, timed in enumerate(frames, 0 if done is None else len(done.times)):
            yield self._frame(timed, index)
        self._judge()

    def _chosen(self) -> Iterator[Timed[av.VideoFrame]]:
        return self._timed() if self.span == (None, None) else self._cut()

    def _after(self, done: Done) -> Iterator[Timed[av.VideoFrame]]:
        """What follows the frames that are done.

        They are decoded again from a key frame on and must come at the same times, with the same picture;
        where they do not (open GOPs that need what was before, clocks that lie), all is read from the start.
        """
        if done.enter:
            said = list(self.warnings)
            self._decoding.seek((done.times[done.enter] + done.moved) * self._decoding.tick)
            frames = self._cut(done.moved)
            if self._passes(done, frames, done.enter):
                self.warnings[:] = said  # of pictures before the key frame, which nobody gets
                self._decoding.forget_failures()
                yield from frames
                return
            self.warnings[:] = said
            self._decoding.restart()
            if self.span[0] is not None:
                self._decoding.seek(self.span[0])
        frames = self._chosen()
        if not self._passes(done, frames, 0):
            raise VdeblurError(
                f"{self.clip.source}: gives other frames than before; --restart begins anew with them"
            )
        yield from frames

    def _passes(self, done: Done, frames: Iterator[Timed[av.VideoFrame]], first: int) -> bool:
        """Read over the frames from `first` on that are done; False where they are not what they were."""
        number = first
        for timed in frames:
            if first and number == first and timed.pts < done.times[first]:
                continue
            if timed.pts != done.times[number]:
                return False
            checks = first and done.check is not None and done.check[0] == number
            if checks and done.check and digest(self._frame(timed, number)) != done.check[1]:
                return False
            number += 1
            if number == len(done.times):
                return True
        return False

    def _timed(self) -> Iterator[Timed[av.VideoFrame]]:
        tick = self._decoding.tick
        pictures = self._decoding.pictures()
        if self._deinterlace:
            pictures = deinterlaced(pictures)
        stamped = (_stamped(picture, tick) for picture in pictures)
        for timed in paced(stamped, tick, self.clip.picture.rate, self.warnings):
            self._until_s = float((timed.pts + timed.duration) * tick - self.origin)
            if timed.item.interlaced_frame and not self._deinterlace:
                self._warn(INTERLACED if self.clip.picture.interlaced else _LATE_FIELDS)
            yield timed

    def _cut(self, moved: int | None = None) -> Iterator[Timed[av.VideoFrame]]:
        """The frames of the range, with times from zero; `moved` where it is known by how much they move."""
        tick, (begin, end) = self._decoding.tick, self.span
        dropped = False
        if moved is not None:
            self.moved = moved
        for timed in self._timed():
            if moved is None and begin is not None and timed.pts * tick < begin:
                if (timed.pts + timed.duration) * tick - begin <= _MISSED:
                    dropped = True
                    continue
                first = int(begin / tick)
                timed = Timed(timed.item, first, timed.pts + timed.duration - first)
            if end is not None and timed.pts * tick >= end:
                for _ in self._decoding.passing(end):
                    pass  # packets of other streams go on to `on_packet`
                return
            if moved is None:
                # A cut video starts with its first frame; one that starts late in the range stays late.
                zero = self.origin if begin is None else begin
                moved = timed.pts if dropped else min(timed.pts, int(zero / tick))
                self.moved = moved
            duration = timed.duration
            if end is not None:
                duration = max(1, min(duration, int(end / tick) - timed.pts))
            yield Timed(timed.item, timed.pts - moved, duration)

    def _frame(self, timed: Timed[av.VideoFrame], index: int) -> Frame:
        layout = self.clip.picture.layout
        picture = self._fitting.fitted(timed.item, self._decoding.video)
        # Before the views are taken: the decoder may still need the picture for its successors.
        picture.make_writable()
        picture.pts, picture.time_base, picture.duration = timed.pts, self._decoding.tick, timed.duration
        planes = formats.views(picture)
        formats.clip_to_depth(planes, layout)
        return Frame(
            planes=planes,
            layout=layout,
            pts=timed.pts,
            time_base=self._decoding.tick,
            duration=timed.duration,
            index=index,
            side=picture,
        )

    def _judge(self) -> None:
        """After the last frame: what went wrong on the way, and whether the source was all there."""
        if self.corrupt_frames:
            self._warn(f"frames of the source that the decoder marks as damaged: {self.corrupt_frames}")
        if self.failed_packets:
            self._warn(f"pictures of the source that do not decode and are missing: {self.failed_packets}")
        for text in self._decoding.restarts.warnings:
            self._warn(text)
        if self._decoding.has_late_streams:
            self._warn("streams that come up in the middle of the file cannot be read: they are left out")
        why = self._decoding.verdict()
        if why is None:
            return
        if not self._keep_partial:
            raise broken_source(self.clip.source, why, self._until_s)
        if self.clip.broken is None:
            when = "" if self._until_s is None else f" at {self._until_s:.2f} s"
            self._warn(f"the source breaks off{when} ({why}): only what is there is used")

    def _offer(self, packet: Packet) -> None:
        if self.on_packet is not None:
            self.on_packet(packet)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _stamped(picture: av.VideoFrame, tick: Fraction) -> Stamped[av.VideoFrame]:
    """A picture with its own time in units of `tick` (a filter may have given it a finer time base)."""
    scale = Fraction(picture.time_base) / tick if picture.time_base else Fraction(1)
    pts = None if picture.pts is None else round(picture.pts * scale)
    return Stamped(picture, pts, round((picture.duration or 0) * scale))
