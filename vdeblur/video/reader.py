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

from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vdeblur.frame import Frame
from vdeblur.video import formats
from vdeblur.video.clip import Clip, broken_source
from vdeblur.video.decoding import Decoding, OnPacket, Packet
from vdeblur.video.deinterlace import Deinterlacer
from vdeblur.video.pace import Stamped, Timed, paced

_INTERLACED = "interlaced: both fields of a picture are deblurred as one; --deinterlace makes it progressive"


class Reader:
    """Iterate once for the frames of a clip.

    start, end   seconds from where the file starts; the frames from `start` up to, not including, `end`
    deinterlace  interlaced pictures become progressive ones, one for each
    on_packet    takes the packets of the streams in `wanted`, in the order of the file; may be set later
    keep_partial a source that breaks off ends early instead of failing

    shift        seconds taken off all times (0 unless a range was asked for); set before the first packet
                 is handed over, so that the other streams can be cut and moved alike
    warnings     sentences, each once, growing while frames are read
    """

    def __init__(
        self,
        clip: Clip,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        deinterlace: bool = False,
        on_packet: OnPacket | None = None,
        wanted: frozenset[int] = frozenset(),
        keep_partial: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        if not keep_partial:
            clip.refuse_broken()
        self.clip = clip
        self.on_packet = on_packet
        self.shift = Fraction(0)
        self.warnings: list[str] = []
        if clip.broken is not None:
            self._warn(f"the source breaks off ({clip.broken}): only what is there is used")
        if clip.picture.interlaced and not deinterlace:
            self._warn(_INTERLACED)
        self._keep_partial = keep_partial
        self._deinterlace = deinterlace
        self._decoding = Decoding(clip, self._offer, wanted, steady=keep_partial, timeout_s=timeout_s)
        origin = self._decoding.origin
        self._begin = origin + start if start else None
        self._end = None if end is None else origin + end
        # Packets that come before the first frame of a range is known, and with it the shift.
        self._early: list[Packet] | None = None if start is None and end is None else []
        self._until_s: float | None = None  # the end of the last good frame
        self._reformatter = VideoReformatter()
        if self._begin is not None:
            try:
                # Here, not when frames are asked for: it may open the source anew, and `container` must last.
                self._decoding.seek(self._begin)
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
    def video(self) -> VideoStream:
        """The stream that is decoded."""
        return self._decoding.video

    @property
    def span(self) -> tuple[Fraction | None, Fraction | None]:
        """The range on the source's own clock; None where it is open."""
        return self._begin, self._end

    @property
    def corrupt_frames(self) -> int:
        """Pictures that the decoder gave with errors in them."""
        return self._decoding.corrupt_frames

    @property
    def failed_packets(self) -> int:
        """Packets of the video that did not decode at all."""
        return self._decoding.failed_packets

    def close(self) -> None:
        """Let go of the source; may be called twice."""
        self._decoding.close()

    def __iter__(self) -> Iterator[Frame]:
        ranged = self._early is not None
        for index, timed in enumerate(self._cut() if ranged else self._timed()):
            yield self._frame(timed, index)
        self._release()
        self._judge()

    def _timed(self) -> Iterator[Timed[av.VideoFrame]]:
        tick = self._decoding.tick
        pictures = self._decoding.pictures()
        if self._deinterlace:
            pictures = Deinterlacer().through(pictures)
        stamped = (_stamped(picture, tick) for picture in pictures)
        for timed in paced(stamped, tick, self.clip.picture.rate, self.warnings):
            self._until_s = float((timed.pts + timed.duration) * tick - self._decoding.origin)
            if timed.item.interlaced_frame and not self._deinterlace:
                self._warn(_INTERLACED)
            yield timed

    def _cut(self) -> Iterator[Timed[av.VideoFrame]]:
        """The frames of the range, with times from zero."""
        tick, begin, end = self._decoding.tick, self._begin, self._end
        dropped, moved = False, None
        for timed in self._timed():
            if begin is not None and timed.pts * tick < begin:
                dropped = True
                continue
            if end is not None and timed.pts * tick >= end:
                self._release()
                self._decoding.pass_on_until(end)
                return
            if moved is None:
                # A cut video starts with its first frame; one that starts late in the range stays late.
                zero = self._decoding.origin if begin is None else begin
                moved = timed.pts if dropped else min(timed.pts, int(zero / tick))
                self.shift = moved * tick
                self._release()
            duration = timed.duration
            if end is not None:
                duration = max(1, min(duration, int(end / tick) - timed.pts))
            yield Timed(timed.item, timed.pts - moved, duration)

    def _frame(self, timed: Timed[av.VideoFrame], index: int) -> Frame:
        picture, layout = self._fitted(timed.item), self.clip.picture.layout
        # Before the views are taken: the decoder may still need the picture for its successors.
        picture.make_writable()
        picture.pts, picture.time_base, picture.duration = timed.pts, self._decoding.tick, timed.duration
        return Frame(
            planes=formats.views(picture),
            layout=layout,
            pts=timed.pts,
            time_base=self._decoding.tick,
            duration=timed.duration,
            index=index,
            side=picture,
        )

    def _fitted(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in the clip's one layout; nearly always the very same object."""
        layout, name = self.clip.picture.layout, picture.format.name
        size_differs = (picture.width, picture.height) != (layout.width, layout.height)
        if size_differs:
            self._warn(f"the picture size changes in the middle: scaled to {layout.width}x{layout.height}")
        elif name not in (layout.name, self.clip.picture.pix_fmt):
            self._warn(f"the pixel format changes in the middle: {name} is converted to {layout.name}")
        if size_differs or name != layout.name:
            return self._reformatter.reformat(picture, layout.width, layout.height, layout.name)
        if any(plane.line_size < 0 for plane in picture.planes):
            return formats.upright(picture)
        return picture

    def _judge(self) -> None:
        """After the last frame: what went wrong on the way, and whether the source was all there."""
        if self.corrupt_frames:
            self._warn(f"frames of the source that the decoder marks as damaged: {self.corrupt_frames}")
        if self.failed_packets:
            self._warn(f"pictures of the source that do not decode and are missing: {self.failed_packets}")
        why = self._decoding.verdict()
        if why is None:
            return
        if not self._keep_partial:
            raise broken_source(self.clip.source, why, self._until_s)
        if self.clip.broken is None:
            when = "" if self._until_s is None else f" at {self._until_s:.2f} s"
            self._warn(f"the source breaks off{when} ({why}): only what is there is used")

    def _offer(self, packet: Packet) -> None:
        if self._early is not None:
            self._early.append(packet)
        elif self.on_packet is not None:
            self.on_packet(packet)

    def _release(self) -> None:
        early, self._early = self._early, None
        for packet in early or ():
            self._offer(packet)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _stamped(picture: av.VideoFrame, tick: Fraction) -> Stamped[av.VideoFrame]:
    """A picture with its own time in units of `tick` (a filter may have given it a finer time base)."""
    scale = Fraction(picture.time_base) / tick if picture.time_base else Fraction(1)
    pts = None if picture.pts is None else round(picture.pts * scale)
    return Stamped(picture, pts, round((picture.duration or 0) * scale))
