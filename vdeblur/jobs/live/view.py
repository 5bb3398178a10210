"""What the live loop and those who show its pictures say to each other: `View` one way, `Controls` the other.

The loop makes a `View` for every picture and hands it to each `Viewer`; a viewer turns keys, clicks and
requests into wishes on `Controls`, which the loop reads between pictures.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Picture = np.ndarray[Any, np.dtype[np.uint8]]

STRENGTH_STEP = 0.1
STALE_S = 1.0
"""A picture older than this, and than it usually is, is said to be old."""


@dataclass(frozen=True, slots=True)
class Status:
    """The figures of this moment, measured frame by frame over the last seconds.

    captured_fps, shown_fps   pictures a second that came from the source, and that were handed to viewers
    age_p50_s, age_p95_s      time from capture to showing; 0 before the first picture
    captured, shown, dropped  pictures since the start, each counted where it happens; what is captured and
                              neither is in flight: one waits at most, one is in work at most
    refused                   shown as they came: no result was one that deblurring can give (engine/guard.py)
    step                      the ladder's rung in words: "mimo-unet-tiny at 1/2"
    message                   what everybody should know now: "camera lost, trying again in 2 s"
    recording                 the file that is being recorded, under the name it will get
    """

    captured_fps: float
    shown_fps: float
    age_p50_s: float
    age_p95_s: float
    captured: int
    shown: int
    dropped: int
    refused: int
    step: str
    device: str
    message: str | None
    recording: Path | None
    strength: float
    frozen: bool

    def lines(self, age_s: float = 0.0) -> list[str]:
        """In words, the same wherever it is shown; nothing is rounded so that it looks better.

        age_s    of the very picture that is on the screen: one that stays (frozen, source lost) grows old
        """
        rates = (
            f"captured {self.captured_fps:.1f} fps, shown {self.shown_fps:.1f} fps, dropped {self.dropped}"
        )
        age = [f"age {self.age_p50_s * 1000:.0f} ms, 95 % under {self.age_p95_s * 1000:.0f} ms"]
        if age_s > max(STALE_S, self.age_p95_s):
            age = [f"this picture is {age_s:.0f} s old"]
        elif not self.age_p95_s:  # none was shown lately
            age = []
        doing = ["frozen"] if self.frozen else []
        if self.recording is not None:
            doing.append(f"recording {self.recording.name}")
        return [
            rates + (f", {self.refused} not corrected" if self.refused else ""),
            *age,
            f"{self.step} on {self.device}, strength {self.strength:.0%}",
            *([", ".join(doing)] if doing else []),
        ]


@dataclass(frozen=True, slots=True)
class View:
    """One picture to show.

    before, after    height x width x 3, uint8 RGB, same size; read only: other viewers have the same arrays
    captured_at_s    `time.monotonic()` at capture
    """

    before: Picture
    after: Picture
    captured_at_s: float
    status: Status


class Viewer(Protocol):
    """A window, a web page, a stream: used by the loop's thread only.

    While nothing new comes (frozen, source lost), the last view is shown again about ten times a second with
    a new status; before the first picture only `closed` is called, at the same pace (not while the
    network is being opened): a window answers its keys and its closing in both.
    """

    def show(self, view: View) -> None:
        """Take the view; never blocks longer than a frame."""
        ...

    def closed(self) -> bool:
        """Whether its user has closed it: then the run ends."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...


class Controls:
    """Wishes of whoever watches, from any thread. Which pictures are compared, and how, viewers keep."""

    def __init__(self, strength: float = 1.0, *, recording: bool = False) -> None:
        self._lock = threading.Lock()
        self._strength = strength
        self._frozen = False
        self._recording = recording
        self._snapshot = False

    def wish(self, name: str) -> None:
        """What a key or a button means; unknown names come from outside and are passed over.

        "freeze" and "record" begin it or end it; "snapshot" gives both pictures as PNG (`Status.message`
        says where).
        """
        match name:
            case "stronger":
                self.set_strength(round(self.strength + STRENGTH_STEP, 3))
            case "weaker":
                self.set_strength(round(self.strength - STRENGTH_STEP, 3))
        with self._lock:
            self._frozen ^= name == "freeze"
            self._recording ^= name == "record"
            self._snapshot |= name == "snapshot"

    def set_strength(self, strength: float) -> None:
        """From 0 (nothing) to 1 (everything); what lies outside is clipped."""
        with self._lock:
            self._strength = min(max(strength, 0.0), 1.0)

    def end_recording(self) -> None:
        with self._lock:
            self._recording = False

    # What the loop reads.

    @property
    def strength(self) -> float:
        with self._lock:
            return self._strength

    @property
    def frozen(self) -> bool:
        with self._lock:
            return self._frozen

    @property
    def recording(self) -> bool:
        """Whether a recording is wanted."""
        with self._lock:
            return self._recording

    def take_snapshot_wish(self) -> bool:
        """Whether a snapshot was asked for; the wish is gone then."""
        with self._lock:
            wished, self._snapshot = self._snapshot, False
            return wished
