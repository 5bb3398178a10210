"""Live: the loop from the newest picture to whoever watches.

    capture thread --newest--> Slot --> network (this thread) --> viewers, recording, output
                                            `-- Climber, Ladder: which network, at which resolution

One thread runs the network and the viewers (windows want it to be the main one). Nothing queues between:
the age of a picture is at most one interval of the source and one picture's work.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from vdeblur.frame import Fate, Frame
from vdeblur.jobs.live.capture import Capture
from vdeblur.jobs.live.climber import Climber
from vdeblur.jobs.live.meter import Meter
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.picture import Captured, Screen, blended
from vdeblur.jobs.live.record import Recordings
from vdeblur.jobs.live.rungs import Load, Rungs
from vdeblur.jobs.live.serve import Broadcast
from vdeblur.jobs.live.view import Controls, Picture, Status, View, Viewer
from vdeblur.video.picture_files import write_png

IDLE_S = 0.1
"""How long to wait for a picture before showing the old one with new figures."""
SAID_S = 4.0
"""How long a message stays on screen."""


@dataclass(frozen=True, slots=True)
class LiveResult:
    """The figures of the whole run; `seconds` from when the first picture could be shown."""

    seconds: float
    captured: int
    shown: int
    dropped: int
    refused: int
    age_p50_s: float
    age_p95_s: float
    losses: int
    step: str
    recordings: tuple[Path, ...]

    def line(self) -> str:
        """In one sentence."""
        ages = f"; age {self.age_p50_s * 1000:.0f} ms (p50), {self.age_p95_s * 1000:.0f} ms (p95)"
        refused = f"; {self.refused} {Fate.REFUSED}" if self.refused else ""
        lost = f"; source lost {self.losses} times" if self.losses else ""
        return (
            f"{self.seconds:.1f} s: {self.captured} captured, {self.shown} shown "
            f"({self.shown / max(self.seconds, 1e-6):.1f} fps), {self.dropped} dropped"
            f"{ages if self.shown else ''}{refused}{lost}"
        )


def run(
    options: LiveOptions,
    viewers: Sequence[Viewer] = (),
    controls: Controls | None = None,
    *,
    tell: Callable[[str], None] = lambda text: None,
    watch: Callable[[Status], None] = lambda status: None,
    load: Load | None = None,
) -> LiveResult:
    """Show until the source ends, `duration_s` is over, or a viewer is closed.

    `tell` gets every message once; `watch` the figures, with every picture and about ten times a second.
    `duration_s` counts from when the network is open. Raises VdeblurError where the source or the network
    cannot be opened, and for a recording or an output that failed. On Ctrl-C a recording is finished before
    KeyboardInterrupt goes on, with the figures as its text.
    """
    options.check()
    controls = controls or Controls(recording=options.record.target is not None)
    with ExitStack() as stack:
        for viewer in viewers:
            stack.callback(viewer.close)
        capture = Capture(options.source, tell=tell)
        stack.callback(capture.close)
        rungs = Rungs(options.rungs(), load or options.load)
        stack.callback(rungs.close)
        capture.wait_for_first(unless=lambda: any(viewer.closed() for viewer in viewers))
        loop = _Loop(options, capture, rungs, viewers, controls, tell, watch)
        stack.callback(loop.recordings.close)
        stack.callback(loop.close)
        interrupted: KeyboardInterrupt | None = None
        try:
            loop.run()
        except KeyboardInterrupt as error:
            interrupted = error
        result = loop.result()
    if interrupted is not None:
        raise KeyboardInterrupt(result.line()) from interrupted
    if loop.recordings.failure is not None:
        raise loop.recordings.failure
    return result


class _Loop:
    """One live run; everything here is the loop's thread's own."""

    def __init__(
        self,
        options: LiveOptions,
        capture: Capture,
        rungs: Rungs,
        viewers: Sequence[Viewer],
        controls: Controls,
        tell: Callable[[str], None],
        watch: Callable[[Status], None],
    ) -> None:
        self._options, self._capture = options, capture
        self._viewers, self._controls = viewers, controls
        self._tell, self._watch = tell, watch
        self.recordings = Recordings(options.record, controls, self._say)
        self._meter, self._screen = Meter(), Screen()
        self._climber = Climber(rungs, options.goal, self._say, tell)
        self._work_s = 0.0  # of the latest picture
        self._refused = 0  # by the guard: shown as they came
        self._passed_over = 0  # taken and not shown, while opening or frozen: dropped here
        self._said: tuple[str, float] | None = None  # a message, and until when it stands
        self._broadcast: Broadcast | None = None
        self._latest: tuple[Captured, Frame, Picture | None] | None = None  # source, sharpened, source as RGB
        self._shown_strength = 1.0
        self._view: View | None = None
        self._begin_s = time.monotonic()

    def run(self) -> None:
        while not self._over():
            captured = self._capture.slot.take(IDLE_S, self._work_s)
            if captured is None:
                if self._capture.slot.ended:
                    break
                self._show_again()
            elif not self._climber.begun:
                self._climber.begin(captured.frame, self._capture.stated_rate)
                self._begin_s = time.monotonic()
                self._capture.go()
                self._passed_over += 1  # it has grown old meanwhile
            elif self._controls.frozen and self._latest is not None:
                self._passed_over += 1
                self._show_again()
            else:
                self._one(captured)
        if self._capture.failure is not None:
            raise self._capture.failure

    def close(self) -> None:
        if self._broadcast is not None:
            self._broadcast.close()

    def result(self) -> LiveResult:
        captured, dropped = self._capture.slot.counts
        return LiveResult(
            seconds=time.monotonic() - self._begin_s,
            captured=captured,
            shown=self._meter.count,
            dropped=dropped + self._passed_over,
            refused=self._refused,
            age_p50_s=self._meter.whole_age(0.50),
            age_p95_s=self._meter.whole_age(0.95),
            losses=self._capture.losses,
            step=self._climber.step,
            recordings=self.recordings.files,
        )

    def _one(self, captured: Captured) -> None:
        """A new picture: sharpened, shown, recorded, served; and what it took decides about the next."""
        if self._latest is not None and captured.frame.layout != self._latest[0].frame.layout:
            self._climber.resized(captured.frame)
        begin = time.monotonic()
        sharp = self._climber.correct(captured.frame)
        self._refused += sharp.fate is Fate.REFUSED
        before = self._screen.rgb(captured.frame, captured.look) if self._viewers else None
        self._latest = captured, sharp, before
        after = self._present(time.monotonic())
        now = time.monotonic()
        self._meter.shown(now, now - captured.at_s)
        rate = self._capture.stated_rate or self._capture.slot.rate(now) or 25.0
        self.recordings.put(after, captured.look, rate)
        if self._options.output is not None:
            self._serve(Captured(after, captured.at_s, captured.look), rate)
        self._take_snapshot()
        self._work_s = now - begin
        source_fps = self._capture.slot.rate(now) or None
        self._climber.climb(captured.frame, now, self._work_s, now - captured.at_s, source_fps)
        self._watch(self._status(now))

    def _present(self, now: float) -> Frame:
        """Hand the latest picture to the viewers at the strength asked for; answers with what was shown."""
        assert self._latest is not None
        captured, sharp, before = self._latest
        self._shown_strength = strength = self._controls.strength
        after = blended(captured.frame, sharp, strength)
        if before is not None:
            shown = self._screen.rgb(after, captured.look) if after is not captured.frame else before
            self._show(View(before, shown, captured.at_s, self._status(now)))
        return after

    def _show(self, view: View) -> None:
        self._view = view
        for viewer in self._viewers:
            viewer.show(view)

    def _show_again(self) -> None:
        """The old picture with new figures, so that the screen says what is going on."""
        now = time.monotonic()
        if self._latest is not None:
            if self._controls.strength != self._shown_strength:
                self._present(now)
            elif self._view is not None:
                self._show(dataclasses.replace(self._view, status=self._status(now)))
            self._take_snapshot()
            self.recordings.look()
            self._watch(self._status(now))

    def _over(self) -> bool:
        if self._broadcast is not None and self._broadcast.failure is not None:
            raise self._broadcast.failure
        limit = self._options.duration_s
        return any(viewer.closed() for viewer in self._viewers) or (
            limit is not None and time.monotonic() - self._begin_s >= limit
        )

    def _serve(self, captured: Captured, rate: float) -> None:
        if self._broadcast is None:
            assert self._options.output is not None
            self._broadcast = Broadcast(self._options.output, rate)
        self._broadcast.put(captured)

    def _take_snapshot(self) -> None:
        if not self._controls.take_snapshot_wish() or self._latest is None:
            return
        captured, sharp, _ = self._latest
        first = f"vdeblur-{time.strftime('%Y%m%d-%H%M%S')}"
        stems = chain([first], (f"{first}-{number}" for number in count(2)))
        stem = next(stem for stem in stems if not Path(f"{stem}-before.png").exists())
        after = blended(captured.frame, sharp, self._controls.strength)
        pair = {Path(f"{stem}-before.png"): captured.frame, Path(f"{stem}-after.png"): after}
        try:
            for path, frame in pair.items():
                write_png(path, self._screen.rgb(frame, captured.look))
        except OSError as error:
            with suppress(OSError):
                for path in pair:
                    path.unlink(missing_ok=True)
            self._say(f"snapshot: cannot be written here ({error.strerror})")
            return
        self._say(f"snapshot: {stem}-before.png, {stem}-after.png")

    def _say(self, text: str) -> None:
        """On screen for a while, and once to the log."""
        self._said = text, time.monotonic() + SAID_S
        self._tell(text)

    def _message(self, now: float) -> str | None:
        """What matters most: the source, then the output, then what was said lately."""
        served = None if self._broadcast is None else self._broadcast.message
        said = self._said[0] if self._said is not None and now < self._said[1] else None
        return self._capture.message(now) or served or said

    def _status(self, now: float) -> Status:
        captured, dropped = self._capture.slot.counts
        return Status(
            captured_fps=self._capture.slot.rate(now),
            shown_fps=self._meter.rate(now),
            age_p50_s=self._meter.recent_age(now, 0.50),
            age_p95_s=self._meter.recent_age(now, 0.95),
            captured=captured,
            shown=self._meter.count,
            dropped=dropped + self._passed_over,
            refused=self._refused,
            step=self._climber.step,
            device=self._climber.device,
            message=self._message(now),
            recording=self.recordings.target,
            strength=self._controls.strength,
            frozen=self._controls.frozen,
        )
