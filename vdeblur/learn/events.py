"""What a run says while it goes on, for whoever draws it: a terminal, a script, a test."""

from __future__ import annotations

from dataclasses import dataclass

from vdeblur.learn.judge import Score


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins, or goes on from a step; `notes` say what was decided or changed, a line each."""

    step: int
    steps: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the steps since the last figures: mean loss, rate and gradient norm at the end, speed, and the share
    of time in which the device waited for data. `left_s` is how long the rest will take."""

    step: int
    loss: float
    norm: float
    rate: float
    samples_per_s: float
    waited: float
    skipped: int
    cpu_s: float
    left_s: float


@dataclass(frozen=True, slots=True)
class Judging:
    """The averaged network is about to be judged, which may take minutes; all that it has learnt is saved."""

    step: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The averaged network was judged; `best` says whether it is the best so far."""

    step: int
    score: Score
    best: bool


@dataclass(frozen=True, slots=True)
class Stepped:
    """One more step is done."""

    step: int


Event = Started | Figures | Judging | Scored | Stepped
