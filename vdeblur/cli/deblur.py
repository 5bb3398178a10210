"""`vdeblur FILE ...` and `vdeblur resume`: files made sharp, one or many, each shown while it goes on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vdeblur.cli.complaints import FAILURES, complain
from vdeblur.cli.options import Parser, deblur_parser, options_of
from vdeblur.cli.values import given_path
from vdeblur.errors import InputError, SuspectError, TargetExistsError, presentable, without_secrets

if TYPE_CHECKING:
    from vdeblur.jobs.batch import Item
    from vdeblur.jobs.deblur import Result
    from vdeblur.jobs.plan import Options, Plan


def deblur(words: list[str]) -> int:
    parser = deblur_parser()
    asked = parser.parse_args(words)
    if not asked.input:
        parser.error("name a video to deblur")
    _refuse_target_as_input(asked)
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
            if asked.dry_run:
                raise InputError("--dry-run writes nothing: leave out --report")
            from vdeblur.measure.report import check_target

            own = [] if asked.weights is None else [asked.weights]
            check_target(asked.report, "--report", Path(plan.clip.source), plan.target, *own)
        _run(plan, asked)
        return 0
    if asked.report is not None:
        raise InputError("--report is for one input: name one file")
    return _run_all([(item, options) for item in items], asked)


def _refuse_target_as_input(asked: argparse.Namespace) -> None:
    """`vdeblur IN OUT`, as other programs have it, before IN is deblurred to a name that nobody asked for."""
    from vdeblur.video.names import is_video

    *others, last = asked.input
    is_target = is_video(Path(last)) and "://" not in last and not Path(last).exists()
    if asked.output is None and len(others) == 1 and Path(others[0]).exists() and is_target:
        raise InputError(f"{last}: no such file; to name the result write -o {last}")


def resume(words: list[str]) -> int:
    parser = Parser(
        "vdeblur resume",
        "Goes on with every run below a folder that was stopped (killed, power cut, disk full), as it was "
        "asked for then. The same command as then does it too, for its one target.",
    )
    parser.add_argument("folder", type=given_path, metavar="FOLDER", help="where the results were to lie")
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
    if asked.dry_run:
        from vdeblur.cli import show
        from vdeblur.jobs.dry_run import described

        show.pairs(described(plan))
        return
    from vdeblur.cli import progress
    from vdeblur.jobs.deblur import run

    try:
        with progress.Display(plan, quiet=asked.quiet) as display:
            result = run(plan, display.tell)
    except SuspectError as error:
        _write_report(error.result, asked.report)
        raise
    _write_report(result, asked.report)
    if not asked.quiet:
        progress.summary(result)


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
            own = InputError(
                f"{item.source}: would replace {error.target} of this same run; give it its own -o"
            )
            failed, worst = failed + 1, max(worst, complain(own, debug=asked.debug))
        except FAILURES as error:
            failed, worst = failed + 1, max(worst, complain(error, debug=asked.debug))
    if not asked.quiet:
        word = "planned" if asked.dry_run else "done"
        print(f"{done} {word}, {skipped} there already, {failed} failed", file=sys.stderr)
    if not failed:
        return 0
    return 1 if done or skipped else worst
