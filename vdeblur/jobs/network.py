"""The engine of one run, opened for its plan, and its words on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vdeblur.engine.device import cpu_threads
from vdeblur.frame import Frame
from vdeblur.jobs import memory
from vdeblur.jobs.plan import Options, Plan
from vdeblur.video.encoders import ENCODERS

if TYPE_CHECKING:
    from vdeblur.engine.deblurrer import Deblurrer

Work = Callable[[Iterable[Frame]], Iterator[Frame]]


def open_network(
    plan: Plan, stack: ExitStack, note: Callable[[str], None]
) -> tuple[Work, float | None, dict[str, Any]]:
    """The function from frames to frames, seconds for each, encoding included, and what it runs on.

    What it runs on may change while frames are deblurred; `note` is told of everything that was decided.
    """
    from vdeblur.engine import budget
    from vdeblur.engine.deblurrer import Deblurrer

    assert plan.weights is not None
    options, layout = plan.options, plan.clip.picture.layout
    budget.keep_within(memory.for_tiles(plan))
    stack.callback(budget.keep_within, None)  # it holds for this run, not for what a notebook does next
    if options.precision == "int8" or plan.makes_int8:
        from vdeblur.jobs.quantising import prepare

        asked = options.device, options.precision, options.backend
        prepare(plan.weights, *asked, note, long=plan.makes_int8)
    engine = stack.enter_context(Deblurrer.load(**options.engine()))
    seconds = engine.estimate_s_per_frame(layout)
    runs_on = {**engine.describe(layout), "weights_name": plan.weights.name}
    encoding_s = encoding_s_per_frame(plan)
    # On a processor both want the same cores.
    seconds = seconds + encoding_s if runs_on["device"] == "cpu" else max(seconds, encoding_s)
    for text in engine.notes:  # after the warm-up, which may refuse a precision
        note(text)

    def deblurred(frames: Iterable[Frame]) -> Iterator[Frame]:
        """With a word on what was decided on the way: a path that does not hold, memory that ran out."""
        known = len(engine.notes)
        for frame in sharpened(engine, frames, options):
            if len(engine.notes) > known:
                for text in engine.notes[known:]:
                    note(text)
                known = len(engine.notes)
                runs_on.update(engine.describe(layout))
            yield frame
        runs_on.update(engine.describe(layout))  # on a GPU the way to compute is chosen at the first frame

    return deblurred, seconds, runs_on


def encoding_s_per_frame(plan: Plan) -> float:
    """Seconds that all cores have with the encoder; 0 where its pace is not known (`video.encoders`)."""
    output, layout = plan.output, plan.clip.picture.layout
    if output is None or output.encoder not in ENCODERS:
        return 0.0
    paces = dict(ENCODERS[output.encoder].paces)
    ms_a_megapixel = paces.get(output.options.get("preset", ""), 0.0)
    return ms_a_megapixel * layout.width * layout.height / 1e9 / cpu_threads()


def sharpened(engine: Deblurrer, frames: Iterable[Frame], options: Options) -> Iterator[Frame]:
    """Every frame, in order: deblurred, or as it is where it is sharp already and such are to pass."""
    from vdeblur.engine.sharpness import all_but_sharp

    least = options.skip_sharp
    return all_but_sharp(frames, least, engine.deblur) if least else engine.deblur(frames)
