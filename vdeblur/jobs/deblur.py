"""File to file: the pipeline's one owner.

Three threads, joined by two bounded pumps: the reader's demuxes and decodes, the caller's runs the
network, the writer's encodes and muxes.  They start from the writer backwards.  An error in any of them
ends all of them; they are joined, the unfinished file is removed, and the error comes out once.  Nothing
ever stands under the target's name before it is whole.

    reader thread --frames--> Pump --> engine (this thread) --frames--> Pump --> writer thread

The writer's frames become segments in a journal beside the target (`keeping`), from which a run that was
killed is continued; the last step joins them with the other streams of the source.  A source that cannot be
read again is written in one go instead, its other streams passing by on the way.
"""

from __future__ import annotations

import dataclasses
import platform
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from vdeblur import __version__
from vdeblur.errors import InputError, SuspectError
from vdeblur.frame import Fate, Frame
from vdeblur.jobs import memory
from vdeblur.jobs.compare import compared
from vdeblur.jobs.identity import can_be_read_again, made_with, path_of, plain_options
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.interrupts import Interrupts
from vdeblur.jobs.journal import Journal, entire, folder_of
from vdeblur.jobs.keeping import Keeping
from vdeblur.jobs.keeping_pictures import FEW, KeepingPictures, all_there
from vdeblur.jobs.plan import Options, Plan, make_plan
from vdeblur.jobs.pump import Pump
from vdeblur.ledger import Ledger
from vdeblur.video.carry import Carry
from vdeblur.video.ffmpeg import FfmpegWriter
from vdeblur.video.pictures import place_of
from vdeblur.video.reader import Reader
from vdeblur.video.receipt import Receipt
from vdeblur.video.segments import Rule
from vdeblur.video.source import stop_pipe
from vdeblur.video.writer import Writer

QUEUE = 4  # frames waiting between two stages; more only costs memory


@dataclass(frozen=True, slots=True)
class Started:
    """The engine is open and the first frame has been timed."""

    model: str
    device: str
    frames: int | None
    s_per_frame: float | None
    done: int = 0  # frames of earlier runs


@dataclass(frozen=True, slots=True)
class Progress:
    """One more frame stands in the file; `time_s` is its presentation time."""

    frames: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something the person should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """No frame moves until the next event, and why."""

    text: str


Event = Started | Progress | Note | Waiting
Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: where the file is, what happened to the frames, and with what."""

    target: Path
    ledger: Ledger
    settings: dict[str, Any]
    receipt: Receipt | None = None  # None where none was asked for

    def report(self) -> dict[str, Any]:
        """Plain values for a JSON file: settings, versions, totals, and every frame."""
        keys = ("index", "pts", "fate", "written_after_s")
        return {
            "target": str(self.target),
            "settings": self.settings,
            "versions": versions(),
            "totals": self.ledger.totals(),
            "receipt": None if self.receipt is None else self.receipt.report(),
            "frames": [
                dict(zip(keys, (i, pts, str(fate), round(s, 4)), strict=True))
                for i, pts, fate, s in self.ledger.rows
            ],
        }


class _Sink(Protocol):
    """What writes frames: a video file, the user's ffmpeg, or pictures."""

    def write(self, frame: Frame) -> None: ...
    def finish(self) -> Path: ...
    def abandon(self) -> None: ...


def deblur_file(source: str | Path, target: str | Path | None = None, **options: Any) -> Result:
    """Deblur a whole video (or pictures) and keep everything else in the file.

    `options` are the fields of `vdeblur.jobs.plan.Options`, e.g. ``model="mimo-unet-tiny"``; `start` and
    `end` are seconds. Raises VdeblurError; nothing is left under the target's name then.
    """
    if options.get("weights") is not None:
        options["weights"] = Path(options["weights"])
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
        journal = _open_journal(plan, stack, rule)
        if journal.entries:
            ledger.restore(journal.rows())
            inspection.resume(b"".join(entry.looks for entry in journal.entries))
            note(f"goes on after the {journal.frames} frames that are done")
        if not journal.keeps:
            note("the source cannot be read again: if this run is stopped, it has to begin anew")
        frames, said, sink_for = _open_ends(plan, stack, inspection, journal, rule)
        finished_before = journal.complete
        with interrupts.welcome():
            engine, settings = _open_engine(plan, stack, tell, note, ledger.restored, idle=finished_before)
        if ledger.restored and not finished_before:
            tell(Waiting("finding the place in the source"))
        sink: deque[_Sink] = deque(maxlen=1)  # filled by the writer thread with its first frame
        if finished_before:
            sink.append(sink_for())
        decoded: Pump[Frame] = Pump(QUEUE)
        finished: Pump[Frame] = Pump(QUEUE)

        def read() -> None:
            try:
                for frame in _timed(frames, ledger, "decode"):
                    if not decoded.put(frame):
                        return
                decoded.end()
            except BaseException as error:
                decoded.end(error)

        failure: list[BaseException] = []

        def write() -> None:
            try:
                for frame in finished:
                    with ledger.spend("encode"):
                        if not sink:
                            sink.append(sink_for())
                        inspection.saw(frame)
                        sink[0].write(frame)
                    ledger.note(frame)
                    for text in said():
                        note(text)
                    tell(Progress(ledger.frames, frame.time_s))
            except BaseException as error:
                failure.append(error)
                finished.stop()

        threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in (write, read)]
        for thread in threads:
            thread.start()
        interrupted: KeyboardInterrupt | None = None
        try:
            # Waiting for a decoded frame happens inside the engine's time, and is taken off it below.
            with interrupts.welcome():
                for frame in _timed(engine(_timed(decoded, ledger, "wait")), ledger, "engine"):
                    if not finished.put(frame):
                        break
            finished.end()
        except KeyboardInterrupt as error:
            interrupted = error
            finished.end() if plan.options.keep_partial else finished.stop()
        except BaseException as error:
            failure.append(error)
            finished.stop()
        finally:
            decoded.stop()
            stop_pipe()
            for thread in threads:
                thread.join()

        if interrupts.came and interrupted is None:
            interrupted = KeyboardInterrupt()
        try:
            if failure:
                raise failure[0]
            if interrupted and not (plan.options.keep_partial and sink):
                raise KeyboardInterrupt from interrupted
            if not sink:
                raise InputError(f"{plan.clip.source}: {_no_frame(plan.options)}")
            inspection.interrupted = interrupted is not None
            tell(Waiting("finishing the file"))
            with ledger.spend("close"), nullcontext() if interrupted else interrupts.welcome():
                target = sink[0].finish()
            for text in said():
                note(text)
            if interrupted:
                words = f"the {ledger.frames} frames done so far are kept in {target}"
                raise KeyboardInterrupt(words) from interrupted
        except BaseException as error:
            if sink:
                sink[0].abandon()
            if journal.entries:
                error.add_note(journal.way_on(plan.clip.picture.time_base))
            elif isinstance(error, KeyboardInterrupt) and not error.args:
                error.add_note(f"nothing was written to {plan.target}")
            raise
    ledger.stages_s["engine"] -= ledger.stages_s.pop("wait")
    ledger.close()
    result = Result(target, ledger, settings, inspection.receipt)
    if result.receipt is not None and result.receipt.faults:
        raise SuspectError(inspection.words(target), result)
    return result


def _no_frame(options: Options) -> str:
    if options.start is None and options.end is None:
        return "not a single frame came out of it"
    end = "the end" if options.end is None else f"--end {float(options.end):g} s"
    return f"has no frame from --start {float(options.start or 0):g} s to {end}"


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the result."""
    import av
    import numpy

    found = {"vdeblur": __version__, "python": platform.python_version(), "numpy": numpy.__version__}
    found |= {"av": av.__version__, "ffmpeg": str(av.ffmpeg_version_info)}
    import sys

    for name in ("torch", "openvino"):
        if name in sys.modules:
            found[name] = str(sys.modules[name].__version__)
    return found


def _open_journal(plan: Plan, stack: ExitStack, rule: Rule) -> Journal:
    """Locked, with what an earlier run has left."""
    source, options = plan.clip.source, plan.options
    beside, whole = plan.target, entire
    if plan.clip.pictures:
        beside, whole, rule = place_of(plan.clip, plan.target), all_there, FEW
    same = made_with(plan, rule) if can_be_read_again(plan) else None
    asked = {
        "source": str(path_of(source).absolute()),
        "target": beside.name,
        "options": plain_options(dataclasses.replace(options, restart=False)),  # once is enough
    }
    return stack.enter_context(
        Journal(
            folder_of(beside),
            plan.target,
            asked,
            same,
            restart=options.restart,
            keep=options.keep_journal,
            whole=whole,
        )
    )


def _open_ends(
    plan: Plan, stack: ExitStack, inspection: Inspection, journal: Journal, rule: Rule
) -> tuple[Iterable[Frame], Callable[[], list[str]], Callable[[], _Sink]]:
    """The source's frames, warnings so far (each once), and what opens the target."""
    if plan.output is None or plan.carried is None:
        gathered = KeepingPictures(plan, journal, inspection)
        return gathered.frames(), list, lambda: gathered
    output, carried, options = plan.output, plan.carried, plan.options
    told: set[str] = set()

    def fresh(warnings: Iterable[str]) -> list[str]:
        found = [text for text in warnings if text not in told]
        told.update(found)
        return found

    if journal.keeps:
        keeping = Keeping(plan, journal, inspection, rule, stack)
        return keeping.frames(), lambda: fresh(keeping.said()), lambda: keeping
    reader = stack.enter_context(
        Reader(
            plan.clip,
            start=options.start,
            end=options.end,
            deinterlace=options.deinterlace,
            wanted=carried.wanted,
            keep_partial=options.keep_partial,
            gathers=options.verify != "off",
        )
    )
    inspection.gathered = reader.gathered
    carry = Carry(carried, reader, memory.for_waiting(plan))
    inspection.lost, inspection.warnings = carry.lost, reader.warnings
    reader.on_packet = carry.offer
    kind = FfmpegWriter if options.encoder == "ffmpeg" else Writer

    def sink() -> _Sink:
        return kind(
            plan.target,
            plan.clip,
            output,
            carry,
            overwrite=options.overwrite,
            approve=inspection.approve,
            folder=journal.folder,
        )

    return reader, lambda: fresh((*reader.warnings, *carry.warnings)), sink


def _open_engine(
    plan: Plan, stack: ExitStack, tell: Tell, note: Callable[[str], None], done: int, *, idle: bool
) -> tuple[Callable[[Iterable[Frame]], Iterator[Frame]], dict[str, Any]]:
    """The function from frames to frames, and what it runs on."""
    options = plan.options
    given = {
        key: str(value) if isinstance(value, Path | Fraction) else value
        for key, value in dataclasses.asdict(options).items()
    }
    if plan.weights is None or idle:
        tell(Started("none", "none", plan.expected_frames, None, done))
        return _passed, {"source": plan.clip.source, **given}

    from vdeblur.engine import budget
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.engine.sharpness import all_but_sharp

    budget.keep_within(memory.for_tiles(plan))
    if options.precision == "int8" or plan.makes_int8:
        from vdeblur.jobs.quantising import prepare

        asked = options.device, options.precision, options.backend
        prepare(plan.weights, *asked, note, long=plan.makes_int8)
    engine = stack.enter_context(Deblurrer.load(**options.engine()))
    layout = plan.clip.picture.layout
    seconds = engine.estimate_s_per_frame(layout)
    for text in engine.notes:  # after the warm-up, which may refuse a precision
        note(text)
    described = engine.describe(layout)
    tell(Started(plan.weights.name, described["device"], plan.expected_frames, seconds, done))
    settings = {"source": plan.clip.source, **given, **described, "weights_name": plan.weights.name}

    def deblurred(frames: Iterable[Frame]) -> Iterator[Frame]:
        """With a word on what was decided on the way: a path that does not hold, memory that ran out."""
        known = len(engine.notes)
        least = options.skip_sharp
        results = all_but_sharp(frames, least, engine.deblur) if least else engine.deblur(frames)
        for frame in results:
            if len(engine.notes) > known:
                for text in engine.notes[known:]:
                    note(text)
                known = len(engine.notes)
                settings.update(engine.describe(layout))
            yield frame
        settings.update(engine.describe(layout))  # on a GPU the way to compute is chosen at the first frame

    if options.compare is None:
        return deblurred, settings
    mode, rotation = options.compare, plan.clip.picture.rotation

    def both(frames: Iterable[Frame]) -> Iterator[Frame]:
        waiting: deque[Frame] = deque()

        def remember() -> Iterator[Frame]:
            for frame in frames:
                waiting.append(frame)
                yield frame

        for result in deblurred(remember()):
            yield compared(waiting.popleft(), result, mode, rotation)

    return both, settings


def _passed(frames: Iterable[Frame]) -> Iterator[Frame]:
    for frame in frames:
        yield dataclasses.replace(frame, fate=Fate.PASSED)


def _timed(frames: Iterable[Frame], ledger: Ledger, stage: str) -> Iterator[Frame]:
    source = iter(frames)
    while True:
        with ledger.spend(stage):
            frame = next(source, None)
        if frame is None:
            return
        yield frame
