"""Demux and decode one video stream of an open file, and notice when the source breaks off.

The pictures come as the decoder gives them, in order of presentation, times untouched.  Every packet of
another stream that is wanted goes to `on_packet` on the way, in the order of the file.
Used by one thread.  Errors in the middle are counted and the stream goes on; those at the end are a verdict.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from vdeblur.video import pipe
from vdeblur.video.clip import Clip
from vdeblur.video.contents import Gathering, Packet
from vdeblur.video.restarts import CONCATENATED, Restarts
from vdeblur.video.soundness import index_end
from vdeblur.video.source import (
    alpha_decoder,
    close,
    demux,
    has_late_streams,
    is_url,
    open_source,
    opened,
)

OnPacket = Callable[[Packet], None]

_RECENT = 64  # more than any decoder holds back
_LAG_S = 5  # how far other streams may lie behind the video in a file


class Decoding:
    """An open source and the decoder of its video; `close` it.

    origin           seconds on the file's own clock at which it starts: the zero of what a player shows
    corrupt_frames   pictures that decoded with errors
    failed_packets   packets that did not decode at all
    has_late_streams whether streams came up on the way, whose packets nobody saw; known at the end
    restarts         moves the other streams where the clock of the file starts anew
    gathering        notes all that is read, where `gathers`: for a source that cannot be read again
    """

    def __init__(
        self,
        clip: Clip,
        on_packet: OnPacket,
        wanted: frozenset[int],
        *,
        steady: bool,
        gathers: bool = False,
    ) -> None:
        self._clip, self._on_packet, self._wanted = clip, on_packet, wanted
        self._live = is_url(clip.source)
        # A frame thread that fails can take the picture before it along; live sources want no latency.
        self._threads = "SLICE" if steady or self._live or clip.by_gpu else "AUTO"
        self.container = open_source(clip.source, last=True, by_gpu=clip.by_gpu)
        try:
            self._prepare()
            self.origin = _origin(self.container)
            self.gathering = Gathering(self.container, self.video) if gathers else None
        except BaseException:
            close(self.container)
            raise

    def _prepare(self) -> None:
        self.video = cast(VideoStream, self.container.streams[self._clip.picture.index])
        self.video.thread_type = self._threads
        self._decoder: VideoCodecContext = alpha_decoder(self.video) or self.video.codec_context
        self.tick = Fraction(self.video.time_base or self._clip.picture.time_base)
        for stream in self.container.streams:
            if stream.index != self.video.index and stream.index not in self._wanted:
                stream.discard = av.stream.Discard.all
        self._begin_demuxing()
        self.corrupt_frames = 0
        self.failed_packets = 0
        self.has_late_streams = False
        self._needs_key = False
        self._stopped: str | None = None  # why reading ended before the file did
        self._last: Packet | None = None  # of any stream; the payload is not used
        self._last_video: tuple[int | None, bool] | None = None  # (pts, is_corrupt)
        self._furthest = 0  # byte up to which the video has been read
        self._since_failure = 1 << 30
        self._recent: deque[int | None] = deque(maxlen=_RECENT)
        self._reached: dict[int, Fraction] = {}  # time up to which each stream has been read

    def close(self) -> None:
        """May be called twice."""
        close(self.container)

    def pictures(self) -> Iterator[av.VideoFrame]:
        """All pictures from here to the end, then what the decoder still held."""
        while (packet := self._next()) is not None:
            if packet.stream.index != self.video.index:
                continue
            if self._needs_key and not packet.is_keyframe:
                continue
            self._needs_key = False
            yield from self._decode(packet)
        # Again after a failure: a decoder that fails on one picture while it is emptied still holds others.
        for _ in range(_RECENT):
            failed = self.failed_packets
            yield from self._decode(None)
            if self.failed_packets == failed:
                return

    def span(self, start: Fraction | None, end: Fraction | None) -> tuple[Fraction | None, Fraction | None]:
        """A range of seconds from where the file starts, on its own clock."""
        return self.origin + start if start else None, None if end is None else self.origin + end

    def passing(self, end: Fraction | None, *, lag_s: float = _LAG_S) -> Iterator[Fraction | None]:
        """Read without decoding, to the end of the file or until all streams have come to `end`.

        Yields the time of each packet of the video (on the file's clock), None for all others.  Sound that
        lies further behind than `lag_s` is not waited for.
        """
        sounds = {s.index for s in self.container.streams if s.type == "audio"} & self._wanted
        self._last_video = None  # what was decoded last is not the file's last picture
        while True:
            if end is not None:
                ahead = self._reached.get(self.video.index, self.origin)
                waits = any(self._reached.get(index, self.origin) < end for index in sounds)
                # Streams with few packets say nothing; a second of video further on they would have come.
                if ahead > end + (lag_s if waits else 1):
                    return
            if (packet := self._next()) is None:
                return
            is_other = packet.stream.index != self.video.index
            yield None if is_other or packet.dts is None else self._reached[self.video.index]

    def verdict(self) -> str | None:
        """After the last picture: why the source counts as broken off, else None.

        Only what happened at the very end counts; errors in the middle have pictures after them.
        """
        if self._stopped is not None:
            return self._stopped
        if self._last is not None and self._last.is_corrupt:
            return "its last packet is incomplete"
        if self._source_is_cut():
            return "it ends in the middle of its data"
        if self._last_video is None:
            return None
        pts, corrupt = self._last_video
        if corrupt:
            return "its last picture is incomplete"
        if pts is None:
            failed = self._since_failure == 0
        else:
            heard = self._since_failure <= _RECENT
            failed = pts not in self._recent and (heard or self._fails_unheard(pts))
        return "its last picture cannot be decoded" if failed else None

    def _fails_unheard(self, pts: int) -> bool:
        """Whether the picture of the last packet was lost without a word, and others with it.

        That is what FFmpeg's frame threads do with an error while they are emptied.  Not every packet has
        a picture of its own, so the end is decoded again without such threads, which tell what fails.
        """
        if self._threads != "AUTO" or self._clip.source == "-":
            return False
        again = Decoding(self._clip, lambda packet: None, frozenset(), steady=True)
        try:
            again.seek(pts * self.tick)
            for _ in again.pictures():
                pass
            return again.verdict() is not None
        finally:
            again.close()

    def _source_is_cut(self) -> bool:
        """For sources of unknown size, which could not be judged before: did all come that was promised?"""
        if self._clip.size_bytes is not None:
            return False
        if self._clip.source == "-" and pipe.STDIN.is_cut():
            return True
        return self.container.format.name.startswith("mov") and index_end(self.video) > self._furthest

    def seek(self, begin: Fraction) -> None:
        """To a key frame shown at or before `begin`; a source that cannot do it stays at its start."""
        if self._clip.picture.first_pts is None or self._clip.source == "-" or self._live:
            return
        self._needs_key = True
        back = Fraction(0)
        try:
            furthest = self._first_byte_behind(begin)
            while begin - back > self.origin:
                self._jump(begin - back)
                key = next((p for p in self.container.demux(self.video) if p.size and p.is_keyframe), None)
                # Seeking goes by decoding times, which lie before the times of showing: look where it led.
                shown = None if key is None else key.pts if key.pts is not None else key.dts
                if shown is not None and shown * self.tick <= begin:
                    if furthest is not None and key is not None and (key.pos or 0) > furthest:
                        break
                    self._jump(begin - back)
                    return
                back = max(Fraction(1), back * 3)
        except av.FFmpegError:
            pass  # this container cannot seek
        self.restart()

    def _first_byte_behind(self, begin: Fraction) -> int | None:
        """Where a file whose clock may start anew comes to a time first; 0 where it starts anew before."""
        if self.container.format.name not in CONCATENATED:
            return None
        with opened(self._clip.source) as container:
            restarts = Restarts(self.video.index, self.tick, self._clip.picture.rate)
            for packet in demux(container, container.streams[self.video.index]):
                for _ in restarts.through(packet) if packet.size else ():
                    pass  # there are pictures only
                if restarts.shift:
                    return 0
                if packet.dts is not None and packet.dts * self.tick >= begin:
                    return packet.pos or 0
        return None

    def restart(self) -> None:
        """From the very start.  Seeking there would lose what other streams have before the first picture."""
        close(self.container)
        self.container = open_source(self._clip.source, last=True, by_gpu=self._clip.by_gpu)
        self._prepare()

    def forget_failures(self) -> None:
        """What failed so far was not wanted."""
        self.corrupt_frames = self.failed_packets = 0

    def _jump(self, target: Fraction) -> None:
        self.container.seek(int(target / self.tick), stream=self.video, backward=True)
        self._begin_demuxing()

    def _begin_demuxing(self) -> None:
        self._packets = self.container.demux()
        self.restarts = Restarts(self.video.index, self.tick, self._clip.picture.rate)

    def _next(self) -> Packet | None:
        """The next packet with content, handed over if it belongs to another stream; None at the end."""
        while True:
            try:
                packet = next(self._packets, None)
            except IndexError:  # see `source.demux`
                packet = None
            except av.FFmpegError as error:
                if self._is_end(error):
                    return None
                what = "the connection broke off" if self._live else "reading stops"
                self._stopped = f"{what}: {error.strerror or type(error).__name__}"
                return None
            if packet is None:
                self._hand_over(self.restarts.rest())
                self.has_late_streams = has_late_streams(self.container)
                return None
            if not packet.size:
                continue  # asks for a flush; packets without a time are real ones
            self._last = packet
            if self.gathering is not None:
                self.gathering.packet(packet)
            if self.container.format.name in CONCATENATED:
                self._hand_over(self.restarts.through(packet))
            elif packet.stream.index != self.video.index:
                self._hand_over((packet,))
            if packet.stream.index == self.video.index:
                self._note(packet, self.restarts.shift)
            return packet

    def _hand_over(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            if packet.stream.index in self._wanted:
                self._note(packet)
                self._on_packet(packet)

    def _note(self, packet: Packet, shift: Fraction = Fraction(0)) -> None:
        """How far its stream has come."""
        when = packet.dts if packet.dts is not None else packet.pts
        if when is not None and packet.time_base:
            self._reached[packet.stream.index] = when * Fraction(packet.time_base) + shift

    def _is_end(self, error: av.FFmpegError) -> bool:
        """FFmpeg's word for a server that closes an answer for which it had stated no length."""
        unstated = self._clip.size_bytes is None and self._clip.source.lower().startswith("http")
        return unstated and error.errno == errno.EIO

    def _decode(self, packet: Packet | None) -> list[av.VideoFrame]:
        if packet is not None:
            self._since_failure += 1
            if not packet.is_discard:
                self._last_video = (packet.pts, bool(packet.is_corrupt))
            self._furthest = max(self._furthest, (packet.pos or 0) + packet.size)
        try:
            pictures = self._decoder.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            self.failed_packets += 1
            self._since_failure = 0
            return []
        for picture in pictures:
            self._recent.append(picture.pts)
            self.corrupt_frames += bool(picture.is_corrupt)
        return pictures


def _origin(container: InputContainer) -> Fraction:
    """The container's start time, which FFmpeg rounds to microseconds, exactly as the stream has it."""
    start = Fraction(container.start_time or 0, 1_000_000)
    exact = [
        s.start_time * Fraction(s.time_base)
        for s in container.streams
        if s.start_time is not None and s.time_base
    ]
    return min((t for t in exact if abs(t - start) <= Fraction(1, 1_000_000)), default=start)
