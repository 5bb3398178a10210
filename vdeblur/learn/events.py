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


def line(event: Event) -> str:
    """It in words, for whoever draws no bar; empty for what is not worth a line."""
    if isinstance(event, Started):
        return "; ".join([f"step {event.step} of {event.steps}", *event.notes])
    if isinstance(event, Figures):
        return (
            f"step {event.step}  loss {event.loss:.4f}  norm {event.norm:.2f}  rate {event.rate:.2e}  "
            f"{event.samples_per_s:.1f} pictures/s  skipped {event.skipped}  cpu {event.cpu_s / 60:.1f} min"
        )
    if isinstance(event, Scored):
        return f"step {event.step}  {event.score.gain_db:+.3f} dB, worst {event.score.worst_db:+.3f}"
    return ""
