"""Segments become the one stream of the target again, by packet copy, with everything else of the source.

Every packet gets its frame's exact time; decoding times are made anew for the whole stream, as those of the
segments restart with each.  The source is read once more for its other streams, without decoding.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av

from vdeblur.errors import VdeblurError
from vdeblur.video.carry import ROOM, Carry, CarryPlan
from vdeblur.video.clip import Clip
from vdeblur.video.decoding import Decoding
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.encoding import rate_of
from vdeblur.video.segments import Segment
from vdeblur.video.sink import Approve, Sink
from vdeblur.video.templates import add_template
from vdeblur.video.trust import options_for_file
from vdeblur.video.writer import dress_video, mux_in_step

_STEP_S = Fraction(1, 10)  # between packets that are decoded before anything is shown


class Passing:
    """A source that is read for all but its pictures; `close` it.

    start, end, moved   as the reader of the pictures had (seconds) or found (ticks) them
    room                bytes of packets that may wait

    tick, span, shift   as the reader's: the time base of the pictures, the range, what is taken off all times

    Of a range nothing is missed: but for MP4 and MOV the file is read from its start, and everywhere until
    all sound has come to the range's end.
    """

    def __init__(
        self,
        clip: Clip,
        plan: CarryPlan,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        moved: int = 0,
        room: int = ROOM,
    ) -> None:
        self._idle = not plan.wanted
        clip = dataclasses.replace(clip, by_gpu=False)  # nothing is decoded here
        self._decoding = Decoding(clip, lambda packet: self.carry.offer(packet), plan.wanted, steady=True)
        self.span = begin, _ = self._decoding.span(start, end)
        self.tick = self._decoding.tick
        self.shift = moved * self.tick
        # In MP4 and MOV every stream is entered at its own place.  Elsewhere there is one for all, and what
        # belongs to the range may lie before it: a subtitle that is on screen, sound that is woven badly.
        if begin is not None and self.container.format.name.startswith("mov"):
            self._decoding.seek(begin)
        self.carry = Carry(plan, self, room)

    @property
    def container(self) -> Any:
        """The open container: templates for copies."""
        return self._decoding.container

    def clock(self) -> Iterator[float]:
        """Read on, handing packets to `carry`; yields the seconds up to which all may be written.

        Those are the times of the pictures in between, and of packets where too many wait for a picture.
        """
        if self._idle:
            return
        for when in self._decoding.passing(self.span[1], lag_s=math.inf):
            if when is not None:
                yield float(when - self.shift)
            elif (overdue_s := self.carry.overdue_s) is not None:
                yield overdue_s

    def close(self) -> None:
        """Let go of the source; may be called twice."""
        self._decoding.close()


def join(
    target: Path,
    clip: Clip,
    choice: OutputChoice,
    passing: Passing,
    segments: Sequence[Segment],
    *,
    folder: Path,
    whole: bool = True,
    overwrite: bool = False,
    approve: Approve | None = None,
) -> Path:
    """Write the target from the segments in `folder`; returns its name.

    Unless it is `whole`, nothing of the other streams is taken that lies behind the last frame.
    """
    if len({segment.header for segment in segments}) > 1:
        raise VdeblurError(
            f"{target}: {choice.encoder} changed its parameters in the middle; choose another --codec"
        )
    carry, tick = passing.carry, passing.tick
    sink = Sink(target, choice, overwrite=overwrite, approve=approve, folder=folder)
    try:
        with av.open(f"file:{folder / segments[0].file}", options=options_for_file()) as first:
            clock = passing.clock()
            begun = next(clock, None)  # covers come before the first picture, and belong into the header
            stream = _begin(sink, clip, carry, first.streams.video[0], tick)
        own = joined(segments, folder, stream, tick)
        waiting = next(own, None)
        for when in chain([] if begun is None else [begun], clock):
            while waiting is not None and float(waiting.dts * tick) <= when:
                mux_in_step(carry, sink, waiting)
                waiting = next(own, None)
            if waiting is None and not whole:
                break
            carry.drain(sink, when)
        for packet in chain([] if waiting is None else [waiting], own):
            mux_in_step(carry, sink, packet)
        last = segments[-1]
        if not whole:
            carry.drain(sink, float((last.times[-1] + last.durations[-1]) * tick))
            carry.finish(sink)
        else:
            carry.drain(sink, None)
        return sink.finish()
    except BaseException:
        sink.abandon()
        raise


def joined(segments: Sequence[Segment], folder: Path, stream: Any, tick: Fraction) -> Iterator[Any]:
    """The packets of all segments in their order, with the times of the whole stream."""
    depth = max(segment.depth for segment in segments)
    times = chain.from_iterable(segment.times for segment in segments)
    decoding = decoding_times(times, _leads(segments, depth, stream.container.format.name, tick))
    for segment in segments:
        with av.open(f"file:{folder / segment.file}", options=options_for_file()) as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            for number, packet in zip(segment.order, packets, strict=True):
                packet.stream = stream
                packet.time_base = tick
                packet.pts, packet.duration = segment.times[number], segment.durations[number]
                packet.dts = next(decoding)
                yield packet


def decoding_times(times: Iterable[int], leads: Sequence[int]) -> Iterator[int]:
    """Strictly increasing decoding times, none later than the time at which its packet is shown.

    As encoders do it: `times`, those of showing, sorted, each for as many packets later as there are `leads`:
    by how much the packets before are decoded earlier than anything is shown.
    """
    rest = iter(times)
    first = next(rest)
    return chain((first - lead for lead in leads), [first], rest)


def _leads(segments: Sequence[Segment], depth: int, muxer: str, tick: Fraction) -> list[int]:
    """For `depth` packets.

    MP4 and MOV take all steps of decoding together for the length of the film: with those of the last frames
    put before the first it is right.  MPEG-TS begins with the first of them, so there they are short.
    """
    tail = list(chain.from_iterable(segment.times for segment in segments[-2:]))[-depth - 1 :]
    steps = [tail[-1] - when for when in tail[:-1]]
    if muxer != "mpegts":
        return steps
    most = max(1, int(_STEP_S / tick))
    return [min(step, most * (depth - k)) for k, step in enumerate(steps)]


def _begin(sink: Sink, clip: Clip, carry: Carry, template: Any, tick: Fraction) -> Any:
    sink.scale_times(tick)
    stream = carry.add_streams(sink.container, lambda output: add_template(output, template))
    stream.time_base = tick
    stream.codec_context.framerate = rate_of(clip)
    dress_video(sink, stream, clip)
    sink.start()
    return stream
