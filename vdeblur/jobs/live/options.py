"""What `vdeblur live` is asked for: every early error, and the rungs that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vdeblur.engine import tiles
from vdeblur.engine.device import check_choice, guess_kind
from vdeblur.errors import InputError
from vdeblur.jobs.asked import NetworkAsk
from vdeblur.jobs.live.ladder import SCALES, Goal, Rung
from vdeblur.jobs.live.record import RecordAsk
from vdeblur.jobs.live.serve import check_output
from vdeblur.jobs.live.sources import SourceAsk
from vdeblur.weights import store

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer

NETWORKS = ("mimo-unet", "mimo-unet-small", "mimo-unet-tiny")
"""The networks of a ladder that nobody has named one for, best first."""


@dataclass(frozen=True, slots=True)
class LiveOptions(NetworkAsk):
    """What was asked for. An empty goal: no ladder, the first network at full size whatever it takes."""

    source: SourceAsk = field(default_factory=SourceAsk)
    goal: Goal = field(default_factory=Goal)
    duration_s: float | None = None
    record: RecordAsk = field(default_factory=RecordAsk)
    output: str | None = None

    def check(self) -> None:
        """Every error that can be known before anything is opened; InputError."""
        self.source.check()
        check_choice(self.device, self.precision, self.backend)
        tiles.check(self.tile)
        self.record.check(self.source.address)
        if self.output is not None:
            check_output(self.output)
        for option, value in (
            ("--target-fps", self.goal.fps),
            ("--max-latency", self.goal.latency_s),
            ("--duration", self.duration_s),
        ):
            if value is not None and not value > 0:  # nor is nan
                raise InputError(f"{option} {value:g}: must be more than 0")
        self.rungs()

    def rungs(self) -> tuple[Rung, ...]:
        """The ladder's rungs, best first; one alone where no goal is set.

        A smaller picture loses less than a smaller network (docs/live.md), so the pictures shrink first, and
        smaller networks begin at half size. A network that was asked for by name stays.
        """
        best = store.resolve(self.model, self.weights, guess_kind(self.device)).name
        if self.goal == Goal():
            return (Rung(best, SCALES[0]),)
        named = self.model != "auto" or self.weights is not None
        networks = (best,) if named or best not in NETWORKS else NETWORKS[NETWORKS.index(best) :]
        smaller = tuple(Rung(name, scale) for name in networks[1:] for scale in SCALES[2:])
        return tuple(Rung(best, scale) for scale in SCALES) + smaller

    def load(self, model: str) -> Deblurrer:
        """The engine of a rung."""
        from vdeblur.engine.deblurrer import Deblurrer

        named = {} if self.weights else {"model": model}
        return Deblurrer.load(**self.engine() | named, latency=True)
