"""File to file: the pipeline's one owner.

A run opens its two ends (`ends`, `keeping_pictures`) and between them the engine (`network`),
lets all frames pass (`flow`), and finishes the file.  Whatever goes wrong, the unfinished file is removed,
and the error comes out once.  Nothing ever stands under the target's name before it is whole.

Frames become segments in a journal beside the target, from which a run that was killed is continued; the
last step joins them with the other streams of the source.  A source that cannot be read again is written in
one go instead, its other streams passing by on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from vdeblur.errors import InputError, SuspectError
from vdeblur.frame import Fate, Frame
from vdeblur.jobs.compare import comparing
from vdeblur.jobs.ends import Keeping, Once
from vdeblur.jobs.events import Event, Note, Progress, Started, Tell, Waiting
from vdeblur.jobs.flow import flow
from vdeblur.jobs.identity import can_be_read_again, made_with, path_of, plain_options
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.interrupts import Interrupts
from vdeblur.jobs.journal import Journal, entire, folder_of
from vdeblur.jobs.keeping_pictures import FEW, KeepingPictures, all_there
from vdeblur.jobs.network import Work, open_network
from vdeblur.jobs.plan import Options, Plan, make_plan
from vdeblur.jobs.result import Result
from vdeblur.ledger import Ledger
from vdeblur.video.pictures import place_of
from vdeblur.video.segments import Rule

__all__ = ["Event", "Note", "Progress", "Result", "Started", "Tell", "Waiting", "deblur_file", "run"]

Say = Callable[[str], None]
Ends = Keeping | Once | KeepingPictures


def deblur_file(source: str | Path, target: str | Path | None = None, **options: Any) -> Result:
    """Deblur a whole video (or pictures) and keep everything else in the file.

    `options` are the fields of `vdeblur.jobs.plan.Options`, e.g. ``model="mimo-unet-tiny"``; `start` and
    `end` are seconds, `encoder_options` a dict. A `target` that is a folder gets a file of the source's name.
    Raises VdeblurError; nothing is left under the target's name then.
    """
    if options.get("weights") is not None:
        options["weights"] = Path(options["weights"])
    for name in ("start", "end"):
        if options.get(name) is not None:
            options[name] = Fraction(str(options[name]))  # 0.4 is two fifths, as in the command
    given = dict(options.get("encoder_options", ()))
    options["encoder_options"] = tuple((key, str(value)) for key, value in given.items())
    plan = make_plan(str(source), None if target is None else Path(target), Options(**options))
    return run(plan)


def run(plan: Plan, tell: Tell = lambda event: None, rule: Rule = Rule()) -> Result:  # noqa: B008 (a value)
    """Carry out a plan, or what is left of it.

    Raises VdeblurError for anything that goes wrong and KeyboardInterrupt for Ctrl-C; the target is
    absent then, unless `keep_partial` was asked for and frames were finished.  Where segments were finished
    (`rule` says how long they are), a journal stays beside the target, and the same plan goes on from it.
    SuspectError where the finished file lacks something of its source: it stands beside the target then.
    """
    with Interrupts() as interrupts:
        return _run(plan, tell, rule, interrupts)


def _run(plan: Plan, tell: Tell, rule: Rule, interrupts: Interrupts) -> Result:
    ledger = Ledger(notes=list(plan.notes))

    def note(text: str) -> None:
        ledger.notes.append(text)
        tell(Note(text))

    plan.target.parent.mkdir(parents=True, exist_ok=True)  # of a batch; else it was there when planning
    with ExitStack() as stack:
        inspection = Inspection(plan, ledger)
        tell(Waiting("looking at the source and at what is done"))
        journal = _open_journal(plan, stack, rule, interrupts)
        _take_over(journal, ledger, inspection, note)
        ends = _open_ends(plan, stack, inspection, journal, rule)

        def note_new() -> None:
            for text in ends.said():
                if text not in ledger.notes:
                    note(text)

        def write(frame: Frame) -> None:
            with ledger.spend("encode"):
                inspection.saw(frame)
                ends.write(frame)
            ledger.note(frame)
            note_new()
            tell(Progress(ledger.frames, frame.time_s))

        keep = plan.options.keep_partial
        try:
            with interrupts.welcome():
                engine, runs_on = _open_engine(plan, stack, tell, note, journal)
            if journal.entries and not journal.complete:
                tell(Waiting("finding the place in the source"))
            stopped = flow(ends.frames(), engine, write, ledger, interrupts, keep=keep)
            if stopped and not (keep and ledger.frames):
                raise stopped
            if not ledger.frames:
                raise InputError(f"{plan.clip.source}: {_no_frame(plan.options)}")
            inspection.interrupted = stopped is not None
            tell(Waiting("finishing the file"))
            # Pictures only take their names, all or none of them.
            in_peace = stopped is not None or bool(plan.clip.pictures)
            with ledger.spend("close"), nullcontext() if in_peace else interrupts.welcome():
                target = ends.finish()
            note_new()
            if stopped:
                words = f"the {ledger.frames} frames done so far are kept in {target}"
                raise KeyboardInterrupt(words) from stopped
        except BaseException as error:
            ends.abandon()
            _add_what_is_kept(error, plan, journal)
            raise
    ledger.close()
    settings = {"source": plan.clip.source, **plain_options(plan.options), **runs_on}
    result = Result(target, ledger, settings, inspection.receipt)
    if result.receipt is not None and result.receipt.faults:
        raise SuspectError(inspection.words(target), result)
    return result


def _open_journal(plan: Plan, stack: ExitStack, rule: Rule, interrupts: Interrupts) -> Journal:
    """Locked, with what an earlier run has left."""
    source, options = plan.clip.source, plan.options
    beside, whole = plan.target, entire
    if plan.clip.pictures:
        beside, whole, rule = place_of(plan.clip, plan.target), all_there, FEW
    with interrupts.welcome():
        same = made_with(plan, rule) if can_be_read_again(plan) else None
    asked = {
        "source": str(path_of(source).absolute()),
        "target": beside.name,
        "options": plain_options(dataclasses.replace(options, restart=False)),  # once is enough
    }
    journal = Journal(
        folder_of(beside),
        plan.target,
        asked,
        same,
        restart=options.restart,
        keep=options.keep_journal,
        whole=whole,
    )
    stack.enter_context(journal)
    with interrupts.welcome():
        journal.load()
    return journal


def _take_over(journal: Journal, ledger: Ledger, inspection: Inspection, note: Say) -> None:
    """What an earlier run has done counts as done."""
    if journal.entries:
        ledger.restore(journal.rows())
        inspection.resume(b"".join(entry.looks for entry in journal.entries))
        note(f"goes on after the {journal.frames} frames that are done")
    if not journal.keeps:
        note("the source cannot be read again: if this run is stopped, it has to begin anew")


def _open_ends(plan: Plan, stack: ExitStack, inspection: Inspection, journal: Journal, rule: Rule) -> Ends:
    if plan.clip.pictures:
        return KeepingPictures(plan, journal, inspection)
    if journal.keeps:
        return Keeping(plan, journal, inspection, rule, stack)
    return Once(plan, inspection, stack, folder=journal.folder)


def _open_engine(
    plan: Plan, stack: ExitStack, tell: Tell, note: Say, journal: Journal
) -> tuple[Work, dict[str, Any]]:
    """The function from frames to frames, and what it runs on; none where no frame is to be deblurred."""
    work: Work = _passed
    runs_on: dict[str, Any] = {}
    if plan.weights is None or journal.complete:
        tell(Started("none", "none", plan.expected_frames, None, journal.frames))
    else:
        work, seconds, runs_on = open_network(plan, stack, note)
        tell(Started(plan.weights.name, runs_on["device"], plan.expected_frames, seconds, journal.frames))
    mode, rotation = plan.options.compare, plan.clip.picture.rotation
    if mode is None:
        return work, runs_on
    return lambda frames: comparing(work, frames, mode, rotation), runs_on


def _passed(frames: Iterable[Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield dataclasses.replace(frame, fate=Fate.PASSED)


def _no_frame(options: Options) -> str:
    if options.start is None and options.end is None:
        return "not a single frame came out of it"
    end = "the end" if options.end is None else f"--end {float(options.end):g} s"
    return f"has no frame from --start {float(options.start or 0):g} s to {end}"


def _add_what_is_kept(error: BaseException, plan: Plan, journal: Journal) -> None:
    if journal.entries:
        error.add_note(journal.way_on(None if plan.clip.pictures else plan.clip.picture.time_base))
    elif isinstance(error, KeyboardInterrupt) and not error.args:
        error.add_note(f"nothing was written to {plan.target}")
