"""`vdeblur train`: the words of its command line, Ctrl-C that saves first, and its progress line."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from vdeblur.cli.options import Parser
from vdeblur.cli.progress import bar, span
from vdeblur.errors import InputError, presentable
from vdeblur.jobs.interrupts import SIGNALS

if TYPE_CHECKING:
    from vdeblur.learn.events import Event
    from vdeblur.learn.train import Outcome

AGAIN_S = 3.0  # a second Ctrl-C later than this ends the run at once; sooner it is a bounce of the first
PLAIN_LINE_S = 10.0  # between two lines of figures where there is no terminal


def train(words: list[str]) -> int:
    """Run the command; returns the exit code, 130 for a run that was stopped and can go on."""
    parser = _parser()
    own, assignments = _parted(words, parser)
    asked = parser.parse_args(own)
    from vdeblur.learn.recipe import changes, find_recipe, read_recipe

    changed = changes(assignments)
    if asked.blur is not None:
        changed["blur"] = asked.blur
    recipe = read_recipe(find_recipe(asked.recipe), changed)
    output = asked.output or Path("runs") / asked.recipe.stem
    _check_output(output)
    from vdeblur.learn import log, run

    log.check(output)
    found = run.find(recipe.settings, asked.data, asked.sharp)
    is_first = os.environ.get("RANK", "0") == "0"
    with _Stop() as stop, _Display(recipe.settings.steps, shown=is_first) as display:

        def tell(event: Event) -> None:
            stop.hear(event)
            display.tell(event)

        outcome = run.run(recipe, found, output, tell=tell, stop=stop.asked, reading=display.reading)
    if is_first:
        _summary(outcome, output)
    return 130 if outcome.stopped else 0


def _parser() -> Parser:
    from vdeblur.learn.recipe import SHIPPED, shipped, summary

    recipes = [(name, summary(path)) for name, path in shipped().items()]
    parser = Parser(
        "vdeblur train",
        "Train a network, or go on with a run: started again with the same output folder it continues as "
        "if it had never stopped. Every setting of the recipe is an option too: --steps 5000 --rate 1e-4.\n"
        "More GPUs or processes: torchrun --nproc-per-node N -m -- vdeblur train ...",
        usage="vdeblur train RECIPE [--data ROOT] [--output RUN] [--SETTING VALUE ...]",
        epilog="\n".join(("recipes:", *map("  {0[0]:<28} {0[1]}".format, recipes), f"in {SHIPPED}")),
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="one of those below, or a file like them")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="pairs, or sharp pictures and videos")
    parser.add_argument("--sharp", type=Path, metavar="FOLDER", help="the sharp side, if elsewhere")
    parser.add_argument("--blur", metavar="KIND", help="where there are several: blur, blur_gamma, blur_comp")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RUN", help="folder of the run (default runs/NAME_OF_RECIPE)"
    )
    return parser


def _parted(words: Sequence[str], parser: Parser) -> tuple[list[str], list[str]]:
    """The words that the parser knows, and settings (`--key value`, `--key=value`) as key=value."""
    own: list[str] = []
    assignments: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option == "--" or not option.startswith("--") or parser.knows(option):
            own.append(word)
            continue
        if not equals:
            value = next(waiting, "")
            if not value or value.startswith("--"):
                raise InputError(f"{word}: give it a value (see `vdeblur train --help`)")
        assignments.append(f"{option[2:].replace('-', '_')}={value}")
    return own, assignments


def _check_output(output: Path) -> None:
    """InputError for a folder of the run that could not be made or written to, before anything is read."""
    there = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"--output {output}: {there} is a file; name a folder for the run")
    if not os.access(there, os.W_OK):
        raise InputError(f"--output {output}: {there} cannot be written to; name another folder for the run")


class _Stop:
    """Ctrl-C, a request to end and the terminal's end, as a question that the run asks after every step.

    Before its first step, while data are read, there is nothing to save, and while it is judged all is saved:
    then they end the run at once.
    """

    def __init__(self) -> None:
        self._at_once: str | None = ""  # what to say then; None where it has something to save
        self._since: float | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:
                break  # not the main thread: a test or a notebook calls us
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        self._at_once = None
        return self._since is not None

    def hear(self, event: Event) -> None:
        from vdeblur.learn.events import Judging

        if isinstance(event, Judging) and event.step:
            self._at_once = "the same command goes on from here"

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._at_once is not None:
            raise KeyboardInterrupt(self._at_once)
        if self._since is None:
            self._since = time.monotonic()
            print(
                f"\nsaving after this step; once more in {AGAIN_S:g} s or later ends at once, unsaved",
                file=sys.stderr,
            )
        elif time.monotonic() - self._since > AGAIN_S:
            raise KeyboardInterrupt


class _Display:
    """Draws the events of a run: notes and scores as lines, everything else in a bar (or plain lines)."""

    def __init__(self, steps: int, *, shown: bool) -> None:
        self._console = Console(stderr=True, highlight=False, quiet=not shown)
        self._steps = steps
        self._bar: Progress | None = None
        self._last_line_s = 0.0

    def __enter__(self) -> _Display:
        self._bar, self._task = bar(self._console, _Done())
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reading(self, name: str, done: int, expected: int | None) -> None:
        if self._bar is not None:
            words = f"reading {name}: {done} of {expected or '?'}"
            self._bar.update(self._task, description=presentable(words))

    def tell(self, event: Event) -> None:
        from vdeblur.learn import events

        if isinstance(event, events.Started):
            for note in event.notes:
                self._say(note)
            if event.step >= event.steps:
                self._say(
                    f"this run is over, at step {event.step}: --output FOLDER begins another, "
                    "a larger --steps goes on"
                )
            elif event.step:
                self._say(f"going on from step {event.step} of {event.steps}")
            if self._bar is not None:
                self._bar.reset(
                    self._task, description="first steps", completed=event.step, total=event.steps
                )
        elif isinstance(event, events.Scored):
            if not event.score.pairs:
                self._say(f"step {event.step}: no held-out pair is blurred by a level or more to judge by")
                return
            best = ", best so far" if event.best and event.step else ""
            pairs = "1 held-out pair" if event.score.pairs == 1 else f"{event.score.pairs} held-out pairs"
            refused = f", {event.score.refused} refused by the guard" if event.score.refused else ""
            self._say(
                f"step {event.step}: {event.score.gain_db:+.3f} dB over the blurred input, worst "
                f"{event.score.worst_db:+.3f} dB ({pairs}{refused}){best}"
            )
        elif isinstance(event, events.Figures):
            self._figures(event)
        elif isinstance(event, events.Judging):
            if self._bar is not None:
                self._bar.update(self._task, description="judging by held-out pairs")
        elif self._bar is not None:
            self._bar.update(self._task, completed=event.step)

    def _figures(self, f: Any) -> None:
        line = f"loss {f.loss:.4f}  rate {f.rate:.1e}  {f.samples_per_s:.3g} pictures/s"
        line += f"  waiting for data {100 * f.waited:.0f} %" if f.waited > 0.05 else ""
        line += f"  skipped {f.skipped}" if f.skipped else ""
        if self._bar is not None:
            self._bar.update(self._task, description=line, left_s=f.left_s)
        elif time.monotonic() - self._last_line_s > PLAIN_LINE_S:
            self._last_line_s = time.monotonic()
            self._say(f"step {f.step} of {self._steps}  {line}  {span(round(f.left_s))} left")

    def _say(self, line: str) -> None:
        self._console.print(Text(presentable(line)), soft_wrap=True)


class _Done(ProgressColumn):
    """Steps done, of how many, and the time that is left."""

    def render(self, task: Task) -> Text:
        left_s = task.fields.get("left_s")
        left = f"  {span(round(left_s))} left" if left_s is not None else ""
        return Text(f"{task.completed:.0f}/{task.total:.0f}{left}" if task.total else "")


def _summary(outcome: Outcome, output: Path) -> None:
    done = "stopped at" if outcome.stopped else "done:"
    score = f", best score {outcome.best_db:+.3f} dB" if outcome.best_db is not None else ""
    skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
    print(f"{done} step {outcome.steps}{skipped}{score}; figures in {output / 'log.csv'}")
    if outcome.stopped:
        print("the same command goes on from here")
    else:
        if outcome.best_step == 0:
            print("no step scored better than the weights it began with, which are in best.pt")
        if outcome.best_db is not None and outcome.best_db <= 0:
            print("held out pictures come out no better than they are: train for longer before you use it")
        if outcome.best_step != 0:  # else what it began with, which runs faster by its own name
            best = output / ("best.pt" if outcome.best_db is not None else "last.pt")
            print(f"use it: vdeblur VIDEO --weights {best}")
