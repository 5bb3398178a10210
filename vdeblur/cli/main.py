"""The `vdeblur` command: words in, exit code out.

`vdeblur FILE` deblurs; other commands are words.  Everything heavy is imported by the command that
needs it, so that help, plans and errors come at once.  Exit codes: 0 done, 1 failed, 2 the request
cannot work, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vdeblur.cli.options import (
    Parser,
    bench_options,
    deblur_parser,
    given_path,
    making_options,
    network_of,
    network_options,
    options_of,
    pair_sources,
    size,
)
from vdeblur.cli.streams import prepare
from vdeblur.errors import (
    InputError,
    SuspectError,
    TargetExistsError,
    VdeblurError,
    presentable,
    without_secrets,
)

if TYPE_CHECKING:
    from vdeblur.jobs.batch import Item
    from vdeblur.jobs.deblur import Result
    from vdeblur.jobs.plan import Options, Plan
    from vdeblur.measure.benchmark import Asked


_FAILURES = (VdeblurError, OSError, MemoryError, RuntimeError, ValueError)


def command() -> NoReturn:
    """The `vdeblur` program: `main`, and the end of the process."""
    prepare()
    code = main()
    if any(thread.is_alive() and thread.daemon for thread in threading.enumerate()):
        # One is stuck in a library, as in a camera that does not answer. Python would pull the floor from
        # under it, which can crash; everything else is closed by now.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and prints at most one line of error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    # Threads of the network that spin while they wait cost a factor of ten on a busy machine
    # (docs/engine.md); read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with suppress(ValueError):  # not the main thread: a test or a notebook calls us
        signal.signal(signal.SIGTERM, _terminate)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # no nohup
            signal.signal(signal.SIGHUP, _terminate)  # the terminal was closed
    try:
        if words and words[0] in _COMMANDS:
            code = _COMMANDS[words[0]](words[1:])
        elif words[:1] == ["help"] and (len(words) == 1 or words[1] in _COMMANDS):
            code = _COMMANDS[words[1]]([*words[2:], "--help"]) if words[1:] else _deblur(["--help"])
        else:
            _refuse_slip(words)
            code = _deblur(words[1:] if words[:1] == ["deblur"] else words)
        if sys.stdout is not None:  # it may have been closed by whoever started us
            sys.stdout.flush()  # now, while it can still be answered for
        return code
    except KeyboardInterrupt as stop:
        _complain(stop, _with_notes(stop, "stopped", str(stop)), debug)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is wrong and nobody listens.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _FAILURES as error:
        _complain(error, _said(error), debug)
        return error.exit_code if isinstance(error, VdeblurError) else 1


def _deblur(words: list[str]) -> int:
    parser = deblur_parser()
    asked = parser.parse_args(words)
    if not asked.input:
        parser.error("name a video to deblur; `vdeblur --help` shows what there is")
    from vdeblur.jobs.batch import expand
    from vdeblur.jobs.plan import make_plan

    options = options_of(asked)
    if asked.preview is not None:
        if len(asked.input) > 1:
            raise InputError("--preview looks at one file: name one")
        from vdeblur.jobs.preview import preview

        if asked.dry_run or asked.report is not None:
            raise InputError("--preview makes one picture: leave out --dry-run and --report")
        print(preview(asked.input[0], asked.preview, asked.output, options))
        return 0
    items = expand(asked.input, asked.output)
    if [item.source for item in items] == asked.input and len(items) == 1:
        plan = make_plan(items[0].source, items[0].target, options, folder=items[0].folder)
        if asked.report is not None:
            from vdeblur.measure.report import check_target

            own = [] if asked.weights is None else [asked.weights]
            check_target(asked.report, "--report", Path(plan.clip.source), plan.target, *own)
        _run(plan, asked)
        return 0
    if asked.report is not None:
        raise InputError("--report is for one input: name one file")
    return _run_all([(item, options) for item in items], asked)


def _resume(words: list[str]) -> int:
    parser = Parser(
        "vdeblur resume",
        "Goes on with every run below a folder that was stopped (killed, power cut, disk full), as it was\n"
        "asked for then. The same command as then does it too, for its one target.",
    )
    parser.add_argument("folder", type=given_path, metavar="FOLDER")
    parser.add_argument("--dry-run", action="store_true", help="print the plans and stop")
    parser.add_argument("--quiet", action="store_true", help="errors only")
    parser.set_defaults(report=None)
    asked = parser.parse_args(words)
    from vdeblur.jobs.batch import unfinished

    items, useless = unfinished(asked.folder)
    for error in useless:
        print(presentable(f"vdeblur: {error}"), file=sys.stderr)
    if not items and not useless:
        print(presentable(f"{asked.folder}: no unfinished run below it"), file=sys.stderr)
    code = _run_all(items, asked) if items else 0
    return code or (useless[0].exit_code if useless else 0)


def _run(plan: Plan, asked: argparse.Namespace) -> None:
    from vdeblur.cli import show

    if asked.dry_run:
        show.pairs(plan.describe())
        return
    from vdeblur.jobs import deblur

    try:
        with show.Display(plan, quiet=asked.quiet) as display:
            result = deblur.run(plan, display.tell)
    except SuspectError as error:
        _write_report(error.result, asked.report)
        raise
    _write_report(result, asked.report)
    if not asked.quiet:
        show.summary(result)


def _write_report(result: Result, path: Path | None) -> None:
    if path is not None:
        from vdeblur.measure.report import write

        write(path, without_secrets(json.dumps(result.report(), indent=1, default=str)), "--report")


def _run_all(items: list[tuple[Item, Options]], asked: argparse.Namespace) -> int:
    """Each in turn; what is there already is skipped, what fails does not stop the rest."""
    from vdeblur.jobs.plan import make_plan

    claimed: set[Path] = set()  # targets of sources that came before
    done = skipped = failed = worst = 0
    for number, (item, options) in enumerate(items, 1):
        if not asked.quiet:
            print(presentable(f"[{number}/{len(items)}] {item.source}"), file=sys.stderr)
        try:
            plan = make_plan(item.source, item.target, options, folder=item.folder)
            if plan.target in claimed:
                raise TargetExistsError(plan.target)
            claimed.add(plan.target)
            _run(plan, asked)
            done += 1
        except TargetExistsError as error:
            if error.target not in claimed:
                claimed.add(error.target)
                skipped += 1
                continue
            said = f"{item.source}: would replace {error.target} of this same run; give it its own -o"
            _complain(error, said, asked.debug)
            failed, worst = failed + 1, max(worst, error.exit_code)
        except _FAILURES as error:
            _complain(error, _said(error), asked.debug)
            code = error.exit_code if isinstance(error, VdeblurError) else 1
            failed, worst = failed + 1, max(worst, code)
    if not asked.quiet:
        word = "planned" if asked.dry_run else "done"
        print(f"{done} {word}, {skipped} there already, {failed} failed", file=sys.stderr)
    if not failed:
        return 0
    return 1 if done or skipped else worst


def _info(words: list[str]) -> int:
    parser = Parser(
        "vdeblur info", "What a file holds: streams, times, colour, and what the decoder really gives."
    )
    parser.add_argument("file")
    parser.add_argument("--video-stream", type=int, metavar="N", help="look at this stream instead")
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.video.clip import probe

    show.clip(probe(asked.file, video_stream=asked.video_stream))
    return 0


def _verify(words: list[str]) -> int:
    parser = Parser(
        "vdeblur verify",
        "Compares a video with the one made from it, by whatever program: frames and their times, every\n"
        "packet of the other streams, chapters, tags, languages, rotation, colour and HDR data.\n"
        "Exit codes: 0 nothing is wrong, 1 damage was found, 2 a file cannot be read.",
    )
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("result", metavar="RESULT")
    parser.add_argument(
        "--full", action="store_true", help="decode both and look at every picture from far away"
    )
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.video.verify import verify

    with show.waiting("reading both files"):
        receipt = verify(asked.source, asked.result, pictures=asked.full)
    show.receipt(receipt)
    return 1 if receipt.faults else 0


def _live(words: list[str]) -> int:
    from vdeblur.cli.live import live

    return live(words)


def _train(words: list[str]) -> int:
    from vdeblur.cli.train import train

    return train(words)


def _demo(words: list[str]) -> int:
    parser = Parser("vdeblur demo", "Makes a shaken clip with sound, deblurs it, and measures what was won.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("vdeblur-demo"), metavar="DIR")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the clip (default %(default)s)")
    network_options(parser)
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.measure.demo import demo

    with show.waiting("making a shaken clip, deblurring it, measuring"):
        result = demo(asked.folder, seconds=asked.seconds, **network_of(asked))
    show.pairs(result.describe())
    return 0


def _doctor(words: list[str]) -> int:
    parser = Parser(
        "vdeblur doctor", "What this machine can do: devices, encoders, runtimes, expected speed."
    )
    parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.measure.doctor import examine

    with show.waiting("trying devices and encoders"):
        report = examine()
    show.doctor(report)
    return 0


def _bench(words: list[str]) -> int:
    parser = Parser(
        "vdeblur bench",
        "Speed that cannot flatter: the network by three clocks, each stage alone, the whole from file to\n"
        "file, beside the device's own peak and the likeness to plain float32.",
    )
    bench_options(parser)
    asked = parser.parse_args(words)
    from vdeblur.measure import report

    if asked.json is not None:
        own = [path for path in (asked.input, asked.weights) if path is not None]
        report.check_target(asked.json, "--json", *own)
    from vdeblur.cli import show
    from vdeblur.measure import bench_report, bench_rows
    from vdeblur.measure.benchmark import Asked, bench, check

    old = None if asked.compare is None else bench_rows.read(asked.compare, "--compare")
    wanted = Asked(**network_of(asked), size=asked.size, frames=asked.frames, input=asked.input)
    check(wanted)
    if asked.sweep:
        return _sweep(wanted, asked)
    found = None
    try:
        with show.doing() as tell:
            for found in bench(wanted, tell):  # shown below, also what there is after Ctrl-C
                if asked.json is not None:
                    report.write(asked.json, bench_rows.json_text(found), "--json")
    finally:
        if found is not None:
            show.tables(bench_report.tables(found))
            show.pairs(bench_report.remarks(found))
            if old is not None:
                show.tables(bench_report.compared(found, old))
    return 0


def _sweep(wanted: Asked, asked: argparse.Namespace) -> int:
    if wanted.input is not None or asked.compare is not None:
        raise InputError(
            "--sweep makes its own clips and compares with published figures: no --input, --compare"
        )
    from vdeblur.cli import show
    from vdeblur.measure.sweep import sweep, table

    rows: list[dict[str, Any]] = []
    try:
        with show.doing() as tell:
            for row in sweep(wanted, asked.json, tell):
                rows.append(row)
                tell(" ".join(table([row])[1]).strip())
    finally:
        if rows:
            show.tables([("Sweep", table(rows))])
    return 0


def _weights(words: list[str]) -> int:
    parser = Parser("vdeblur weights", "Networks with weights: what is known, what is here, how to get more.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|import|export|remove")
    actions.add_parser("list", help="the table of known weights")
    fetch = actions.add_parser("import", help="take an official or own weights file into your data folder")
    fetch.add_argument("source", metavar="FILE_OR_URL")
    fetch.add_argument("--name", required=True, help="the name for --model")
    export = actions.add_parser("export", help="write a network as ONNX")
    export.add_argument("name", metavar="NAME_OR_FILE")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE")
    export.add_argument("--size", type=size, default=(360, 640), metavar="WxH", help="default 640x360")
    remove = actions.add_parser("remove", help="delete imported weights")
    remove.add_argument("name")
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.weights import catalogue, store

    if asked.action == "list":
        show.weights(catalogue.rows())
    elif asked.action == "import":
        with show.counting("MB") as tell:
            stored = store.import_weights(
                asked.source,
                asked.name,
                lambda done, total: tell(asked.name, done // 10**6, total and total // 10**6),
            )
        show.pairs(stored.describe())
    elif asked.action == "remove":
        print(store.remove(asked.name))
    else:
        print(store.export_onnx(asked.name, asked.onnx, *asked.size))
    return 0


def _data(words: list[str]) -> int:
    parser = Parser("vdeblur data", "Pairs of blurred and sharp pictures: REDS, GoPro, your own.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|make-pairs")
    check = actions.add_parser("check", help="open every pair, print what is there and what is wrong")
    pair_sources(check)
    make = actions.add_parser("make-pairs", help="blurred and sharp pictures from your own sharp footage")
    making_options(make)
    asked = parser.parse_args(words)
    if asked.action == "make-pairs":
        return _make_pairs(asked)
    from vdeblur.cli import show
    from vdeblur.data.layouts import survey

    with show.counting("pairs") as tell:
        found = survey(asked.data, asked.sharp, blur=asked.blur, look=True, tell=tell)
    show.survey(found)
    if found.faults:
        raise InputError(f"{asked.data}: faults found: {len(found.faults)}, the first: {found.faults[0]}")
    return 0


def _make_pairs(asked: argparse.Namespace) -> int:
    from vdeblur.cli import show
    from vdeblur.data.make_pairs import Making, make_pairs

    shortest, longest = asked.path
    making = Making(float(asked.exposure), asked.gamma, shortest, longest, asked.split, asked.seed)
    with show.counting("pairs") as tell:
        made = make_pairs(asked.source, asked.output, making, tell)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    clips = "1 clip" if made.clips == 1 else f"{made.clips} clips"
    print(f"{made.root}: {made.pairs} pairs in {clips}; `vdeblur data check {made.root}` shows them")
    return 0


def _eval(words: list[str]) -> int:
    parser = Parser(
        "vdeblur eval",
        "What a network wins on pairs of blurred and sharp pictures or videos: PSNR, SSIM, brightness,\n"
        "flicker, speed. With SHARP but no --model or --weights the two sides are compared as they are.",
    )
    pair_sources(parser)
    parser.add_argument(
        "--protocol",
        choices=("deepdeblur", "mimo"),
        default="deepdeblur",
        help="deepdeblur: rounded to 8 bit, range 255 (default); mimo: unrounded, range 1",
    )
    for name in ("csv", "json", "html"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write a report as {name.upper()}")
    network_options(parser)
    parser.set_defaults(model=None)
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.measure import report

    targets = {f"--{name}": getattr(asked, name) for name in ("csv", "json", "html")}
    taken = [path for path in (asked.data, asked.sharp, asked.weights) if path is not None]
    for option, target in targets.items():
        if target is not None:
            report.check_target(target, option, *taken)
            taken.append(target)
    network = network_of(asked) | {"model": asked.model or "auto"}
    compares = asked.sharp is not None and asked.model is None and asked.weights is None
    from vdeblur.measure.evaluate import evaluate
    from vdeblur.measure.page import page

    with show.counting("frames") as tell:
        found = evaluate(
            asked.data,
            asked.sharp,
            blur=asked.blur,
            protocol=asked.protocol,
            network=None if compares else network,
            pictures=asked.html is not None,
            tell=tell,
        )
    try:
        for (option, target), text in zip(
            targets.items(), (report.csv_text, report.json_text, page), strict=True
        ):
            if target is not None:
                report.write(target, text(found), option)
    finally:  # what was measured is shown, whether it could be written or not
        show.columns(report.table(found))
        show.pairs(report.remarks(found) + report.definitions(found))
    return 0


_COMMANDS = {
    "info": _info,
    "verify": _verify,
    "resume": _resume,
    "data": _data,
    "eval": _eval,
    "train": _train,
    "live": _live,
    "demo": _demo,
    "doctor": _doctor,
    "bench": _bench,
    "weights": _weights,
}


def _refuse_slip(words: list[str]) -> None:
    """A first word that is no file and nearly a command."""
    if not words or words[0].startswith("-") or Path(words[0]).exists():
        return
    near = difflib.get_close_matches(words[0], [*_COMMANDS, "deblur"], 1, 0.75)
    if near and near[0] != words[0]:
        raise InputError(f"{words[0]}: no such file or command; did you mean `vdeblur {near[0]}`?")


def _terminate(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _complain(error: BaseException, words: str, debug: bool) -> None:
    """One line; with --debug where it came from instead."""
    if debug:
        text = without_secrets("".join(traceback.format_exception(error)))
    else:
        text = presentable(f"vdeblur: {words}")
    print(text, file=sys.stderr)


def _said(error: BaseException) -> str:
    """What is wrong, in one line."""
    if isinstance(error, VdeblurError):
        return _with_notes(error, str(error))
    return _with_notes(error, f"{_one_line(error)} (--debug shows where)")


def _with_notes(error: BaseException, *words: str) -> str:
    """With what was added to the error on its way: how to go on."""
    return "; ".join([word for word in words if word] + getattr(error, "__notes__", []))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if not error.filename else f"{error.filename}: {error.strerror}"
    return text if len(text) < 300 else text[:297] + "..."


if __name__ == "__main__":
    command()
