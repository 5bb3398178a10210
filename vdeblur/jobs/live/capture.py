"""The capturing thread: the newest picture lies in a slot for one, and a source that is lost is sought again.

Nothing queues: a picture that nobody has taken is replaced by the next and counted as dropped. Fresh beats
complete.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from vdeblur.errors import InputError, VdeblurError, presentable
from vdeblur.jobs.live.picture import Captured
from vdeblur.jobs.live.sources import Source, SourceAsk, open_source

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 5.0
QUICK_S = 1.5
"""Waits between two tries grow to this within a short outage, then to a tenth of the time since the loss."""
STALLED_S = 1.0
"""After so long without a picture the screen says so."""
RATE_OVER_S = 2.0


class Slot:
    """Holds one picture; the newest wins. Any thread; all figures are guarded by its lock."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._waiting: Captured | None = None
        self._ended = False
        self._times: deque[float] = deque(maxlen=512)
        self.captured = 0
        self.dropped = 0  # replaced before anybody took them

    def put(self, captured: Captured) -> None:
        with self._turn:
            self.captured += 1
            self.dropped += self._waiting is not None
            self._waiting = captured
            self._times.append(captured.at_s)
            self._turn.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def take(self, timeout_s: float, work_s: float = 0.0) -> Captured | None:
        """The newest picture, or None after so long without a new one.

        Where the work on a picture lasts longer than two of them, one that is past half its time is left for
        the next, which is due: a little fewer pictures are shown, and they are fresher.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._waiting is not None or self._ended, timeout_s)
            if self._waiting is not None and len(self._times) > 8:
                old, now_s = self._waiting, time.monotonic()
                interval_s = (self._times[-1] - self._times[-9]) / 8
                age_s = now_s - old.at_s
                if 0 < 2 * interval_s < work_s and interval_s / 2 < age_s < interval_s:
                    self._turn.wait_for(lambda: self._waiting is not old or self._ended, interval_s - age_s)
            taken, self._waiting = self._waiting, None
            return taken

    @property
    def ended(self) -> bool:
        with self._turn:
            return self._ended and self._waiting is None

    @property
    def counts(self) -> tuple[int, int]:
        """(captured, dropped), of one moment."""
        with self._turn:
            return self.captured, self.dropped

    def rate(self, now_s: float) -> float:
        """Pictures a second over the last seconds, 0 when none comes."""
        with self._turn:
            recent = [t for t in self._times if now_s - t <= RATE_OVER_S]
            if len(recent) < 2 or now_s - recent[-1] > STALLED_S:
                return 0.0
            return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-6)


class Capture:
    """Opens the source and keeps it open: `wait_for_first`, `go`, then take from `slot`; `close` at the end.

    What is stored waits after its first picture until `go`; a camera does not wait for anybody.

    A source that cannot be opened at all ends the run; one that is lost later is tried again for ever, with
    growing waits.
    """

    def __init__(
        self,
        ask: SourceAsk,
        opener: Callable[[SourceAsk], Source] = open_source,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`tell` gets every loss and return, from the capturing thread."""
        self.slot = Slot()
        self.losses = 0
        self.stated_rate: float | None = None  # pictures a second as the source claims
        self.failure: BaseException | None = None  # what ended the capturing for good
        self._ask, self._opener, self._tell = ask, opener, tell
        self._stop = threading.Event()
        self._begun = threading.Event()  # the first picture is here, or there will be none
        self._go = threading.Event()
        self._lost: tuple[str, float] | None = None  # why, and when the next try is
        self._latest_s = time.monotonic()
        # A daemon: FFmpeg and OpenCV may block in a read for seconds, and Ctrl-C does not reach them.
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def wait_for_first(self, unless: Callable[[], bool] = lambda: False) -> None:
        """Until the first picture is there or `unless` holds, or Ctrl-C; raises what prevents it."""
        while not self._begun.wait(0.1):
            if unless():
                return
        if self.failure is not None:
            raise self.failure

    def go(self) -> None:
        """Whoever takes the pictures is ready."""
        self._latest_s = time.monotonic()
        self._go.set()

    def message(self, now_s: float) -> str | None:
        """What is wrong with the source just now, if anything is."""
        lost = self._lost
        if lost is not None:
            left_s = lost[1] - now_s
            return f"{lost[0]}; trying again" + (f" in {left_s:.1f} s" if left_s > 0 else "")
        quiet_s = now_s - self._latest_s
        usual_s = 3 / self.stated_rate if self.stated_rate else 0.0
        return f"no new picture for {quiet_s:.0f} s" if quiet_s > max(STALLED_S, usual_s) else None

    def close(self) -> None:
        self._stop.set()
        self._go.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        lost_at: float | None = None
        tries = 0
        while not self._stop.is_set():
            why = "lost"
            try:
                source = self._opener(self._ask)
                try:
                    self.stated_rate = None if source.rate is None else float(source.rate)
                    while not self._stop.is_set() and (captured := source.read()) is not None:
                        self._latest_s = time.monotonic()
                        self.slot.put(captured)
                        self._begun.set()
                        if lost_at is not None:
                            self._tell(f"pictures again after {self._latest_s - lost_at:.1f} s")
                        self._lost, lost_at, tries = None, None, 0
                        if source.waits:
                            self._go.wait()
                    break
                finally:
                    source.close()
            except VdeblurError as error:
                why = str(error)
                if not self._begun.is_set():
                    self.failure = error
                    break
            except BaseException as error:  # of a library: said as it is, once
                self.failure = error
                break
            now = time.monotonic()
            if lost_at is None:
                lost_at, self.losses = now, self.losses + 1
            wait_s = min(FIRST_WAIT_S * 2**tries, max(QUICK_S, (now - lost_at) / 10), LONGEST_WAIT_S)
            self._lost = (why, now + wait_s)
            if tries == 0:
                self._tell(f"{why}; trying again")
            tries += 1
            self._stop.wait(wait_s)
        if not self._begun.is_set() and self.failure is None and not self._stop.is_set():
            self.failure = InputError(f"{presentable(self._ask.address)}: no picture comes out of it")
        self._begun.set()
        self.slot.end()
