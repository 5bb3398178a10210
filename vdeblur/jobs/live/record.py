"""Live pictures into a file, through the same writer as every file, with the times of the capture clock.

Each recording is one file, one thread and one encoder. What the encoder cannot keep up with is left out and
counted; a picture lasts until the next one in the file. Sound is not recorded. Nobody can record the same
again: of a file that fails (the disk is full) what is there is kept, under a name that says so.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vdeblur import colour
from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Frame, PlaneLayout
from vdeblur.jobs.live.picture import TICK, Look
from vdeblur.jobs.live.view import Controls
from vdeblur.video import formats
from vdeblur.video.clip import Clip, Colour, Picture, Stream
from vdeblur.video.codecs import CONTAINERS, choose_output
from vdeblur.video.encoders import OutputChoice
from vdeblur.video.probing import display_matrix
from vdeblur.video.sink import Sink, check_target
from vdeblur.video.writer import Alone, Writer

QUEUE = 8  # pictures that wait for the encoder; more only costs memory
FAST = {"h264": "superfast", "h265": "ultrafast", "hevc": "ultrafast", "av1": "12", "vp9": "8"}
"""Presets that leave the processor to the network."""
_TO_THE_LAST_SECOND = {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "1000000"}
"""An MP4 that can be played up to its last second wherever it breaks off; a usual one once it is finished."""
_TAG_OF_MATRIX = {key: tag for tag, key in colour.MATRIX_OF_TAG.items()}


@dataclass(frozen=True, slots=True)
class RecordAsk:
    """How to record; `target` None: a name of the date and time, when a recording is asked for."""

    target: Path | None = None
    overwrite: bool = False
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None

    def check(self, source: str) -> None:
        """Every error that can be known before there are pictures; InputError."""
        if self.target is None:
            if (self.codec, self.crf, self.preset) != (None, None, None):
                self.choice(_stand_in(), self.name(0))
            return
        if self.target.suffix.lower() not in CONTAINERS:
            raise InputError(
                f"--record {self.target}: name it .mp4, .mkv or another of {', '.join(CONTAINERS)}"
            )
        check_target(self.target, source, overwrite=self.overwrite)
        self.choice(_stand_in(), self.target)

    def choice(self, clip: Clip, target: Path) -> OutputChoice:
        """The encoder, fast; InputError for options that it does not take."""
        codec = self.codec or (None if target.suffix.lower() == ".webm" else "h264")
        choice = choose_output(
            clip, target, codec=codec, crf=self.crf, preset=self.preset or FAST.get(codec or "vp9")
        )
        if choice.container not in ("mp4", "mov"):
            return choice
        return dataclasses.replace(choice, container_options=choice.container_options | _TO_THE_LAST_SECOND)

    def name(self, number: int, taken: Collection[Path] = ()) -> Path:
        """Of the recording of this number (0 is the first): none of them replaces another, nor one that is
        `taken` without being there yet.
        """
        if self.target is None:
            first = Path(f"vdeblur-{time.strftime('%Y%m%d-%H%M%S')}.mp4")
        elif number == 0:
            return self.target
        else:
            first = self.target.with_stem(f"{self.target.stem}-{number + 1}")
        name, count = first, number + 1
        while name.exists() or name in taken:
            count += 1
            name = (self.target or first).with_stem(f"{(self.target or first).stem}-{count}")
        return name


class Recording:
    """`put` frames of one layout, `end`, `finish` (the loop's thread); `failure` may come at any time."""

    def __init__(self, ask: RecordAsk, target: Path, first: Frame, look: Look, rate: float) -> None:
        self.target = target
        self.form = first.layout, look
        self.failure: VdeblurError | None = None
        self.left_out = 0
        self._zero = first.pts
        self._usual = max(round(1 / (rate * float(TICK))), 1) if rate > 0 else 1  # from picture to picture
        self._waiting: deque[Frame] = deque()  # guarded by _turn
        self._turn = threading.Condition()
        self._over = False
        clip = clip_of(first.layout, look, rate)
        choice = ask.choice(clip, target)
        self.notes = choice.notes
        self._writer = Writer(Sink(target, choice, overwrite=ask.overwrite), clip, Alone())
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Never waits."""
        with self._turn:
            if len(self._waiting) >= QUEUE:
                self.left_out += 1
                return
            self._waiting.append(dataclasses.replace(frame, pts=frame.pts - self._zero, side=None))
            self._turn.notify_all()

    def end(self) -> None:
        """Nothing more will come: what waits is written, the file closed and given its name. Never waits."""
        with self._turn:
            self._over = True
            self._turn.notify_all()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> Path:
        """Wait for that; raises what went wrong."""
        self.end()
        while self._thread.is_alive():  # so that a second Ctrl-C does not leave half a file
            try:
                self._thread.join(0.5)
            except KeyboardInterrupt:
                continue
        if self.failure is not None:
            raise self.failure
        return self.target

    def _run(self) -> None:
        held: Frame | None = None  # its duration is known when the next one comes
        usual = self._usual
        try:
            while (frame := self._next()) is not None:
                if held is not None:
                    if frame.pts <= held.pts:
                        continue
                    usual = frame.pts - held.pts
                    self._writer.write(dataclasses.replace(held, duration=usual))
                held = frame
            if held is not None:
                self._writer.write(dataclasses.replace(held, duration=usual))
            self._writer.finish()
        except Exception as error:
            why = str(error) if isinstance(error, VdeblurError) else f"{self.target}: failed ({error})"
            kept = self._writer.leave()
            self.failure = VdeblurError(f"{why}; what was recorded so far: {kept}" if kept else why)

    def _next(self) -> Frame | None:
        with self._turn:
            self._turn.wait_for(lambda: self._waiting or self._over)
            return self._waiting.popleft() if self._waiting else None


class Recordings:
    """Files one after the other, as recording is switched on and off and the picture changes its size.

    To finish one may take long, as all of it must be on the disk: nobody waits for that before `close`.
    After a failure nothing is recorded until it is asked for anew.
    """

    def __init__(self, ask: RecordAsk, controls: Controls, say: Callable[[str], None]) -> None:
        """`controls` says whether recording is wanted; `say` gets every message."""
        self.failure: VdeblurError | None = None  # the first one
        self._made: list[Path] = []
        self._ask, self._controls, self._say = ask, controls, say
        self._current: Recording | None = None
        self._ending: list[Recording] = []
        self._count = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """All there are and will be."""
        coming = [recording.target for recording in self._ending]
        return (*self._made, *coming, *([] if self.target is None else [self.target]))

    @property
    def target(self) -> Path | None:
        """The file that is being written, under the name it will get."""
        return None if self._current is None else self._current.target

    def put(self, frame: Frame, look: Look, rate: float) -> None:
        """A picture was shown."""
        if self._current is not None and self._current.form != (frame.layout, look):
            self._stop()
        self.look()
        if not self._controls.recording:
            return
        if self._current is None:
            try:
                target = self._ask.name(self._count, self.files)
                self._current = Recording(self._ask, target, frame, look, rate)
            except VdeblurError as error:
                self._fail(error)
                return
            for note in self._current.notes:
                self._say(f"note: {note}")
            self._count += 1
        self._current.put(frame)

    def look(self) -> None:
        """Stop if recording is not wanted any more or has failed; say what became of files that ended."""
        if not self._controls.recording or (self._current is not None and self._current.failure):
            self._stop()
        for ended in [one for one in self._ending if one.failure or one.ended]:
            self._ending.remove(ended)
            self._ended(ended)

    def close(self) -> None:
        """Stop, and wait until all files are whole."""
        self._stop()
        while self._ending:
            self._ended(self._ending.pop(0))

    def _stop(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.end()
            self._ending.append(current)

    def _ended(self, ended: Recording) -> None:
        """Say what came of it."""
        try:
            self._made.append(ended.finish())
        except VdeblurError as error:
            self._fail(error)
            return
        left = f"; {ended.left_out} pictures left out, the encoder was too slow" if ended.left_out else ""
        self._say(f"recorded {ended.target}{left}")

    def _fail(self, error: VdeblurError) -> None:
        self.failure = self.failure or error
        self._controls.end_recording()
        self._say(f"recording stops: {error}")


def clip_of(layout: PlaneLayout, look: Look, rate: float) -> Clip:
    """A source that never was a file, as the writer wants to know it: 8-bit pictures become 4:2:0, pictures
    of an odd size, which H.264 cannot halve, 4:4:4.
    """
    deep = layout.depth > 8 and layout.kind == "yuv"
    odd = (layout.width | layout.height) & 1
    matrix = 1 if layout.matrix == "rgb" else _TAG_OF_MATRIX[layout.matrix]
    tag = 2 if layout.range == "full" and layout.kind != "rgb" else 1
    name = (f"yuv444p{layout.depth}le" if odd else layout.name) if deep else "yuv444p" if odd else "yuv420p"
    written = formats.layout_of(name, layout.width, layout.height, range_tag=tag, matrix_tag=matrix)
    picture = Picture(
        index=0,
        codec="h264",
        pix_fmt=written.name,
        layout=written,
        colour=Colour(
            tag,
            matrix,
            look.primaries if look.primaries != 2 else 1 if matrix in (1, 9) else 6,
            look.transfer if look.transfer != 2 else 1,
        ),
        time_base=TICK,
        first_pts=0,
        rate=Fraction(rate).limit_denominator(1001) if rate > 0 else None,
        sample_aspect_ratio=look.aspect if look.aspect != 1 else None,
        display_matrix=display_matrix(look.rotation) if look.rotation else None,
        rotation=look.rotation,
    )
    return Clip("live", "live", (Stream(0, "video", "h264", disposition=1, time_base=TICK),), picture)


def _stand_in() -> Clip:
    """What may come, before anything has come."""
    return clip_of(formats.layout_of("yuv420p", 1280, 720), Look(), 25.0)
