"""Everything that only passes by: packets of other streams, chapters and tags.

`plan_carry` decides for every other stream what happens to it and says before the run what cannot be
carried.  `Carry` does it: copied packets keep their bytes; text subtitles, and sound that could not be kept
otherwise, are converted where the container demands it.  A stream that fails in the middle is given up with a
warning, never the run.

Threads: `offer` is called by the reading thread, everything else by the writing one; the queue between them
is guarded by one lock.  Input streams are only looked at, never decoded here, except those that are
converted, which nobody else touches.

Packets wait for the pictures they belong to, and the reader is kept to a few pictures ahead, so little waits
in most files.  Where a file is woven badly (all its sound before its pictures) the reader has to go past any
number of packets to the next picture, and holding it back would wait for ever: what may wait has a limit
(`room`).  Whoever has all pictures at hand writes on once half of it is taken (`overdue_s`); where pictures
come as they are decoded, the stream that takes most is given up at the limit, with one line.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

import av

from vdeblur.errors import VdeblurError
from vdeblur.video import tags
from vdeblur.video.clip import Clip, Stream
from vdeblur.video.cut import Cut, Reads
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.languages import language_for
from vdeblur.video.restarts import CONCATENATED
from vdeblur.video.sink import Sink
from vdeblur.video.sound import LOSSLESS, SoundConverter
from vdeblur.video.subtitles import TEXT, TextConverter
from vdeblur.video.templates import Trial, accepts, add_template, trial
from vdeblur.video.transport import held_by_ts

ROOM = 256 << 20
"""Bytes of packets that may wait, unless there is less memory."""
_EACH = 720
"""What a packet takes beside its bytes (measured)."""

# muxer -> (subtitle codecs that it takes as they are, what text is converted to)
_SUBTITLES: dict[str, tuple[frozenset[str], str | None]] = {
    "mp4": (frozenset({"mov_text", "dvd_subtitle"}), "mov_text"),
    "mov": (frozenset({"mov_text", "eia_608"}), "mov_text"),
    "matroska": (
        frozenset({"subrip", "ass", "ssa", "webvtt", "dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle"}),
        "srt",
    ),
    "webm": (frozenset({"webvtt"}), "webvtt"),
}


class Action(StrEnum):
    """What happens to a stream."""

    COPY = "copied"
    CONVERT = "converted"
    ATTACH = "kept as an attachment"
    ANEW = "written anew"
    DROP = "cannot be carried"


@dataclass(frozen=True, slots=True)
class Carried:
    """One other stream, what happens to it, and why (or into what)."""

    stream: Stream
    action: Action
    reason: str = ""

    def line(self) -> str:
        """For the plan: `audio 1 (aac, eng) copied`."""
        about = ", ".join(word for word in (self.stream.codec, self.stream.language) if word)
        head = f"{self.stream.kind} {self.stream.index}" + (f" ({about})" if about else "")
        return f"{head} {self.action}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class CarryPlan:
    """What passes by, decided before the run."""

    clip: Clip
    muxer: str
    streams: tuple[Carried, ...]
    notes: tuple[str, ...] = ()

    @property
    def wanted(self) -> frozenset[int]:
        """Indices of the streams whose packets are needed."""
        moving = (Action.COPY, Action.CONVERT, Action.ATTACH)
        return frozenset(c.stream.index for c in self.streams if c.action in moving)

    def lines(self) -> list[str]:
        """One line for each stream, chapters and tags."""
        found = [carried.line() for carried in self.streams]
        if self.muxer == "mpegts":  # which holds neither
            return found
        counts = (("chapter", self.clip.chapters), ("tag", len(tags.container_tags(self.clip.tags))))
        return found + [f"{count} {what}{'s' * (count > 1)}" for what, count in counts if count]


def plan_carry(clip: Clip, choice: OutputChoice) -> CarryPlan:
    """Decide for every stream but the deblurred one; the source is opened once more for it (`trial`)."""
    others = [s for s in clip.streams if s.index != clip.picture.index]
    tried = trial(clip, choice.container) if others else Trial()
    in_ts = held_by_ts(choice.suffix, (s.codec for s in others))
    streams = tuple(Carried(s, *_decide(s, choice, tried, in_ts)) for s in others)
    notes = [c.line() for c in streams if c.action in (Action.DROP, Action.ANEW)]
    converted = [c for c in streams if c.action is Action.CONVERT]
    notes += [c.line() + (", styles may be simplified" * (c.stream.kind == "subtitle")) for c in converted]
    left_out = {c.stream.index for c in streams if c.action in (Action.DROP, Action.ANEW)}
    kept = [s for s in clip.streams if s.index not in left_out]
    if lost := {key for s in kept for key in tags.stream_tags_lost(choice.container, s.metadata, clip.tags)}:
        notes.append(
            f"{choice.suffix[1:]} files keep no such tags of single streams: {', '.join(sorted(lost))}"
        )
    notes += _labels_lost(choice, kept)
    if choice.container == "mpegts" and clip.container != "mpegts":
        notes.append("ts files keep no tags, chapters and default marks, and the language of sound only")
    return CarryPlan(clip, choice.container, streams, tuple(notes))


def _labels_lost(choice: OutputChoice, streams: list[Stream]) -> list[str]:
    """Languages and marks of these streams for which the container has no place."""
    name, muxer = choice.suffix[1:], choice.container
    spoken = [(s, s.language) for s in streams if s.language and (muxer != "mpegts" or s.kind == "audio")]
    strange = {language for _, language in spoken if language_for(muxer, language) is None}
    notes = [f"{name} files cannot name these languages: {', '.join(sorted(strange))}"] if strange else []
    if muxer != "mpegts":
        said = av.stream.Disposition.multilayer | av.stream.Disposition.attached_pic
        known = tags.marks_kept(muxer) | said
        marks = [av.stream.Disposition(s.disposition) for s in streams if s.kind != "attachment"]
        if lost := {mark.name or "" for found in marks for mark in found & ~known}:
            notes.append(f"{name} files keep no such marks of streams: {', '.join(sorted(lost))}")
    return notes


def _decide(stream: Stream, choice: OutputChoice, tried: Trial, in_ts: frozenset[str]) -> tuple[Action, str]:
    muxer = choice.container
    name = choice.suffix[1:]
    if stream.is_cover:
        if muxer == "matroska":
            return Action.ATTACH, "as Matroska keeps covers"
        if muxer != "mp4":
            return Action.DROP, f"{name} files hold no cover pictures"
    if stream.kind == "attachment" and muxer != "matroska":
        return Action.DROP, f"{name} files hold no attachments; .mkv would"
    if muxer == "mpegts" and stream.kind in ("audio", "subtitle") and stream.codec not in in_ts:
        return Action.DROP, f"{name} files hold no {stream.codec or f'such {stream.kind}'}; .mkv would"
    if muxer != "mpegts" and stream.kind == "subtitle":
        as_is, text = _SUBTITLES[muxer]
        if stream.codec in as_is:
            return Action.COPY, ""
        if stream.codec in TEXT and text:
            return Action.CONVERT, f"to {text}"
        return Action.DROP, f"{name} files hold no {stream.codec or 'such'} subtitles; .mkv may"
    if stream.kind == "data":
        made_of = "timecode tag" if "timecode" in stream.metadata else ""
        made_of = made_of or "chapters" * (stream.index in tried.chapters)
        if made_of and muxer == "mpegts":
            return Action.DROP, f"{name} files hold no {made_of}; .mkv would"
        if made_of:
            return Action.ANEW, f"from the {made_of}"
        if muxer not in ("mp4", "mov", "mpegts"):
            return Action.DROP, f"{name} files hold no data streams"
    if stream.index in tried.refused:
        if stream.kind == "audio" and stream.codec is not None and muxer in LOSSLESS:
            return Action.CONVERT, f"to {LOSSLESS[muxer]}, sample by sample, as no {name} muxer takes it"
        what = stream.codec or stream.metadata.get("handler_name", "").strip() or "unknown"
        way_out = "; .mkv would" if stream.kind == "audio" else ""
        return Action.DROP, f"no {name} muxer takes this {what} {stream.kind} stream{way_out}"
    if muxer == "mp4" and stream.is_foreign_pcm:
        return Action.CONVERT, "to alac, sample by sample, as few players know PCM in mp4; .mov keeps it"
    return Action.COPY, ""


class Carry:
    """Carries out a plan, between a reader's packets and an output container."""

    def __init__(self, plan: CarryPlan, reader: Reads, room: int = ROOM) -> None:
        self.plan = plan
        self.warnings: list[str] = []
        self.lost: dict[int, str] = {}  # streams that failed in the middle, and why
        self._reader = reader
        self._room = room
        self._cut = Cut(reader, self.warnings)
        self._lock = threading.Lock()
        self._taken: Counter[int] = Counter()  # source index -> bytes that wait; guarded by _lock
        self._waiting: list[tuple[float, int, Any]] = []  # heap; guarded by _lock
        self._offered = 0  # guarded by _lock
        self._latest: dict[int, float] = {}  # guarded by _lock
        self._into: dict[int, Any] = {}  # source index -> output stream
        self._muxed: dict[int, Fraction] = {}  # source index -> the earliest time for its next packet
        self._converters: dict[int, TextConverter | SoundConverter] = {}
        self._keeps_hidden = plan.muxer in ("mp4", "mov")  # their edit lists hide what is before the start
        self._moving = set(plan.wanted)  # reading thread

    def offer(self, packet: Any) -> None:
        """Take a packet of another stream; reading thread."""
        index = packet.stream.index
        if index not in self._moving or packet.size == 0:
            return
        if packet.is_discard and not self._keeps_hidden:
            return
        if self._cut.is_far_outside(packet):
            return
        with self._lock:
            # Packets of a stream stay in their order; Matroska gives the first ones no decoding time.
            if packet.dts is not None:
                when = float(packet.dts * packet.time_base)
                self._latest[index] = max(when, self._latest.get(index, when))
            self._offered += 1
            heapq.heappush(self._waiting, (self._latest.get(index, float("-inf")), self._offered, packet))
            self._taken[index] += packet.size + _EACH
            if self._taken.total() > self._room:
                self._give_up_the_largest()

    @property
    def overdue_s(self) -> float | None:
        """Once half of the room is taken: the time of what waits first.  Else None."""
        with self._lock:
            if self._taken.total() * 2 <= self._room:
                return None
            return self._waiting[0][0] - float(self._reader.shift)

    def add_streams(self, output: Any, add_video: Callable[[Any], Any]) -> Any:
        """Make the output's streams in the source's order; returns the deblurred one, made by `add_video`."""
        video: Any = None
        clip = self.plan.clip
        actions = {c.stream.index: c for c in self.plan.streams}
        inputs = {s.index: s for s in self._reader.container.streams}
        for stream in clip.streams:
            if stream.index == clip.picture.index:
                video = add_video(output)
                self._label(video, stream, tags.about_the_film(stream.metadata))
                if self._reader.shift and video.metadata.pop("timecode", None):
                    self.warnings.append("the timecode is left out: it belongs to the source's beginning")
            elif stream.index in self.lost:
                continue
            elif (carried := actions[stream.index]).action in (Action.COPY, Action.CONVERT):
                self._add(output, carried, inputs[stream.index])
        self._attach_covers(output, inputs)
        output.container_options.update(self._beginning())
        chapters = self._cut.chapters()
        if chapters and self.plan.muxer != "mpegts":
            output.set_chapters(chapters)
        output.metadata.update(tags.container_tags(clip.tags))
        return video

    def _beginning(self) -> dict[str, str]:
        """Recordings count from anywhere, which players show as hours of nothing: they begin at zero."""
        source = self._reader.container
        ranged = self._reader.span != (None, None)
        if source.format.name not in CONCATENATED or self.plan.muxer == "mpegts" or ranged:
            return {}
        return {"output_ts_offset": f"{-(source.start_time or 0)}us"}

    def drain(self, sink: Sink, until_s: float | None) -> None:
        """Write what is due up to this time (None: everything)."""
        due = None if until_s is None else until_s + float(self._reader.shift)
        while (packet := self._next(due)) is not None:
            index = packet.stream.index
            if index not in self._into or not self._cut.admit(packet):
                continue
            try:
                self._put(sink, index, packet)
            except (av.FFmpegError, VdeblurError) as error:
                self._give_up(index, float((packet.dts or 0) * packet.time_base), error)

        if until_s is None:
            self.finish(sink)

    def finish(self, sink: Sink) -> None:
        """After the last packet: write what the converters still hold, say what never began."""
        inputs = (s for s in self._reader.container.streams if s.index in self._into)
        for index in self._cut.without_beginning(inputs):
            self.warnings.append(
                f"stream {index} has no key frame in the range: nothing of it is in the result"
            )
        for index, converter in self._converters.items():
            for packet in converter.rest():
                if index in self._into:
                    sink.mux(packet)

    def _next(self, due: float | None) -> Any:
        """The first packet that waits, if it is due; else None."""
        with self._lock:
            if not self._waiting or (due is not None and self._waiting[0][0] > due):
                return None
            packet = heapq.heappop(self._waiting)[2]
            self._taken[packet.stream.index] -= packet.size + _EACH
            return packet

    def _give_up(self, index: int, at_s: float, error: Exception) -> None:
        """A stream whose packet the muxer does not like; raises what is worse than that."""
        cause = error.__cause__ if isinstance(error, VdeblurError) else error
        if not isinstance(cause, av.error.ArgumentError | av.error.InvalidDataError):
            raise error
        del self._into[index]
        self._lose(index, f"given up at {at_s:.2f} s: {self.plan.muxer} refuses its packets")

    def _give_up_the_largest(self) -> None:
        """More waits than there is room for; under the lock."""
        index = max(self._taken, key=self._taken.__getitem__)
        packets = self._take_out(index)
        self._moving.discard(index)
        begins = (float(p.pts * p.time_base) for p in packets if p.pts is not None)
        room = f"{self._room >> 20} MiB" if self._room >= 1 << 20 else f"{self._room >> 10} KiB"
        self._lose(
            index,
            f"given up at {next(begins, 0.0):.2f} s: {room} of packets were waiting for their pictures, most "
            "of them its own; save the source as a file first, and nothing is lost",
        )

    def _lose(self, index: int, how: str) -> None:
        self.lost[index] = how
        self.warnings.append(f"stream {index} is {how}")

    def _take_out(self, index: int) -> list[Any]:
        """All that waits of one stream; under the lock."""
        found = [entry[2] for entry in sorted(self._waiting) if entry[2].stream.index == index]
        self._waiting = [entry for entry in self._waiting if entry[2].stream.index != index]
        heapq.heapify(self._waiting)
        del self._taken[index]
        return found

    def _put(self, sink: Sink, index: int, packet: Any) -> None:
        converter = self._converters.get(index)
        if converter is None:
            packet.stream = self._into[index]
            if packet.stream.disposition & av.stream.Disposition.attached_pic:
                packet.pts = packet.dts = 0
            self._keep_increasing(packet, index)
            sink.mux(packet)
            return
        for converted in converter.convert(packet):
            sink.mux(converted)

    def _keep_increasing(self, packet: Any, index: int) -> None:
        """Damaged recordings repeat times of sound, or go back a little; no muxer takes that."""
        if packet.dts is None or packet.stream.type not in ("audio", "video"):
            return
        tick = packet.stream.time_base
        when, least = packet.dts * packet.time_base, self._muxed.get(index)
        if least is not None and when < least:
            text = f"stream {index}: times of its packets repeat or go back: moved so that they increase"
            if text not in self.warnings:
                self.warnings.append(text)
            scale, when = packet.time_base / tick, least
            packet.dts, packet.duration = math.ceil(least / tick), round((packet.duration or 0) * scale)
            packet.pts = None if packet.pts is None else max(round(packet.pts * scale), packet.dts)
            packet.time_base = tick
        self._muxed[index] = when if self.plan.muxer in ("matroska", "webm") else when + tick

    def _add(self, output: Any, carried: Carried, stream: Any) -> None:
        index = carried.stream.index
        if carried.action is Action.CONVERT:
            self._converters[index] = converter = self._converter(output, stream)
            made = converter.stream
        else:
            if not accepts(self.plan.muxer, stream):
                self._lose(index, f"left out: the {self.plan.muxer} muxer refuses it")
                return
            made = add_template(output, stream)
        self._into[index] = made
        self._label(made, carried.stream, dict(carried.stream.metadata))

    def _converter(self, output: Any, stream: Any) -> TextConverter | SoundConverter:
        if stream.type == "audio":
            return SoundConverter(output, stream, LOSSLESS[self.plan.muxer], self.warnings)
        wanted = _SUBTITLES[self.plan.muxer][1]
        assert wanted is not None
        return TextConverter(output, stream, wanted, self.warnings)

    def _label(self, made: Any, stream: Stream, labels: dict[str, str]) -> None:
        if "language" in labels:
            spoken = language_for(self.plan.muxer, labels["language"])
            labels["language"] = spoken or labels["language"]
        if self.plan.muxer in ("mp4", "mov") and "name" in labels:
            labels.setdefault("title", labels["name"])  # how a track's title is read back from there
        made.metadata.update(labels)
        made.disposition = av.stream.Disposition(stream.disposition)

    def _attach_covers(self, output: Any, inputs: dict[int, Any]) -> None:
        """Matroska keeps covers as attachments in its header: their packets must be here by now."""
        for carried in self.plan.streams:
            if carried.action is not Action.ATTACH:
                continue
            index = carried.stream.index
            with self._lock:
                found = self._take_out(index)
            if not found:
                self._lose(index, "left out: this cover picture came too late to be attached")
                continue
            kind = "png" if carried.stream.codec == "png" else "jpg"
            name = carried.stream.metadata.get("filename", f"cover.{kind}")
            mimetype = carried.stream.metadata.get("mimetype", "image/png" if kind == "png" else "image/jpeg")
            output.add_attachment(name, mimetype, bytes(found[0]))
