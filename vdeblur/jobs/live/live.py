"""Live: the loop from the newest picture to whoever watches.

    capture thread --newest--> Slot --> network (this thread) --> viewers, recording, output
                                            `-- Ladder: which network, at which resolution

One thread runs the network and the viewers (windows want it to be the main one). Nothing queues between:
the age of a picture is at most one interval of the source and one picture's work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Fate, Frame
from vdeblur.jobs.live.capture import Capture
from vdeblur.jobs.live.ladder import Goal, Ladder
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
        refused = f"; {self.refused} {Fate.REFUSED}" if self.refused else ""
        lost = f"; source lost {self.losses} times" if self.losses else ""
        return (
            f"{self.seconds:.1f} s: {self.captured} captured, {self.shown} shown "
            f"({self.shown / max(self.seconds, 1e-6):.1f} fps), {self.dropped} dropped; "
            f"age {self.age_p50_s * 1000:.0f} ms (p50), {self.age_p95_s * 1000:.0f} ms (p95){refused}{lost}"
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
    """Show until the source ends, `duration_s` is over, or a viewer or `controls` says stop.

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
        self._options, self._capture, self._rungs = options, capture, rungs
        self._viewers, self._controls = viewers, controls
        self._tell, self._watch = tell, watch
        self.recordings = Recordings(options.record, controls, self._say)
        self._meter, self._screen = Meter(), Screen()
        self._ladder: Ladder | None = None
        self._rung = 0
        self._work_s = 0.0  # of the latest picture
        self._refused = 0  # by the guard: shown as they came
        self._passed_over = 0  # taken and not shown, while opening or frozen: dropped here
        self._said: tuple[str, float] | None = None  # a message, and until when it stands
        self._notes: set[str] = set()
        self._broadcast: Broadcast | None = None
        self._latest: tuple[Captured, Frame, Picture | None] | None = None  # source, sharpened, source as RGB
        self._shown_strength = 1.0
        self._view: View | None = None
        self._device = ""
        self._begin_s = time.monotonic()

    def run(self) -> None:
        first: Captured | None = None
        while not self._over():
            captured = self._capture.slot.take(IDLE_S, self._work_s)
            if captured is None:
                if self._capture.slot.ended:
                    break
                self._show_again()
            elif self._ladder is None:
                first = captured
                self._ladder = self._begin(captured.frame)
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
        if first is not None and self._capture.slot.ended and self._capture.slot.counts[0] == 1:
            self._passed_over = 0
            self._one(first)
            self._tell("a single picture; --loop keeps it on screen")

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
            step=str(self._rungs.rungs[self._rung]),
            recordings=self.recordings.files,
        )

    def _one(self, captured: Captured) -> None:
        """A new picture: sharpened, shown, recorded, served; and what it took decides about the next."""
        if self._latest is not None and captured.frame.layout != self._latest[0].frame.layout:
            self._resized(captured.frame)
        begin = time.monotonic()
        sharp = self._rungs.correct(self._rung, captured.frame)
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
        self._climb(captured, self._work_s, now - captured.at_s)
        self._watch(self._status(now))

    def _begin(self, first: Frame) -> Ladder:
        """Open the rung that is expected to do; the pictures of that time are dropped."""
        goal, rungs = self._options.goal, self._rungs
        names = " and ".join(dict.fromkeys(rung.model for rung in rungs.rungs))
        self._tell(f"{first.layout.width}x{first.layout.height}; opening {names}")
        costs = rungs.costs(first.layout) if len(rungs.rungs) > 1 else [1.0]
        fps = self._capture.stated_rate
        wait_s = 1 / fps if fps else 0.04
        fits = (n for n, cost in enumerate(costs) if goal.need(cost, cost + wait_s, fps) <= 1.0)
        start = next(fits, len(costs) - 1)
        self._rung = start = self._open_from(start, first)
        described = rungs.describe(start)
        self._device = f"{described['device_name']}, {described['precision']}, {described['backend']}"
        self._say(f"{rungs.rungs[start]} on {self._device}")
        return Ladder(costs, goal, start)

    def _resized(self, first: Frame) -> None:
        """The source gives other pictures from now on: networks are opened anew for them."""
        assert self._ladder is not None
        self._say(f"the picture is now {first.layout.width}x{first.layout.height}")
        self._rung = self._open_from(self._rung, first)
        self._ladder.forget(self._rung)

    def _open_from(self, start: int, first: Frame) -> int:
        """Open this rung, or the next one that can be opened: those below come before those above."""
        number, *others = [*range(start, len(self._rungs.rungs)), *reversed(range(start))]
        while True:
            try:
                self._rungs.open(number, first)
                return number
            except VdeblurError as error:
                if isinstance(error, InputError) or not others:
                    raise
                self._say(f"{self._rungs.rungs[number]} is left out: {error}")
            number = others.pop(0)

    def _climb(self, captured: Captured, work_s: float, age_s: float) -> None:
        """Ask the ladder, and change the rung once the new one is open."""
        assert self._ladder is not None
        for note in self._rungs.notes:
            if note not in self._notes:
                self._notes.add(note)
                self._tell(f"note: {note}")
        if len(self._rungs.rungs) == 1:
            return
        now = time.monotonic()
        if self._ladder.rung == self._rung:
            self._ladder.note(now, work_s, age_s, self._capture.slot.rate(now) or None)
        wanted = self._ladder.rung
        if wanted == self._rung:
            return
        try:
            ready = self._rungs.ready(wanted, captured.frame)
        except VdeblurError as error:
            self._ladder.close(wanted, self._rung)
            self._say(f"{self._rungs.rungs[wanted]} is left out: {error}")
            return
        if ready:
            up = wanted < self._rung
            self._rung = wanted
            why = "there is room" if up else "to hold " + _words(self._options.goal)
            self._say(f"{self._rungs.rungs[wanted]}: {'up' if up else 'down'}, {why}")

    def _present(self, now: float) -> Frame:
        """Hand the latest picture to the viewers at the strength asked for; answers with what was shown."""
        assert self._latest is not None
        captured, sharp, before = self._latest
        self._shown_strength = strength = self._controls.strength
        after = blended(captured.frame, sharp, strength)
        if before is not None:
            shown = self._screen.rgb(after, captured.look) if after is not captured.frame else before
            self._view = View(before, shown, captured.at_s, self._status(now))
            for viewer in self._viewers:
                viewer.show(self._view)
        return after

    def _show_again(self) -> None:
        """The old picture with new figures, so that the screen says what is going on."""
        now = time.monotonic()
        if self._latest is not None:
            if self._controls.strength != self._shown_strength:
                self._present(now)
            elif self._view is not None:
                self._view = View(
                    self._view.before, self._view.after, self._view.captured_at_s, self._status(now)
                )
                for viewer in self._viewers:
                    viewer.show(self._view)
            self._take_snapshot()
            self.recordings.look()
            self._watch(self._status(now))

    def _over(self) -> bool:
        if self._broadcast is not None and self._broadcast.failure is not None:
            raise self._broadcast.failure
        limit = self._options.duration_s
        return (
            self._controls.stopped
            or any(viewer.closed() for viewer in self._viewers)
            or (limit is not None and time.monotonic() - self._begin_s >= limit)
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
            step=str(self._rungs.rungs[self._rung]),
            device=self._device,
            message=self._message(now),
            recording=self.recordings.target,
            strength=self._controls.strength,
            frozen=self._controls.frozen,
        )


def _words(goal: Goal) -> str:
    parts: list[Any] = []
    if goal.fps is not None:
        parts.append(f"{goal.fps:g} fps")
    if goal.latency_s is not None:
        parts.append(f"{goal.latency_s * 1000:g} ms")
    return " and ".join(parts)
