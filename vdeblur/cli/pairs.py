"""`vdeblur data` and `vdeblur eval`: pairs of blurred and sharp pictures, and what a network wins on them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vdeblur.cli.options import Parser, network_of, network_options
from vdeblur.cli.values import fraction
from vdeblur.errors import InputError

if TYPE_CHECKING:
    from vdeblur.measure.rows import Evaluation


def data(words: list[str]) -> int:
    parser = Parser("vdeblur data", "Pairs of blurred and sharp pictures: REDS, GoPro, your own.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|make-pairs")
    what = "open every pair, print what is there and what is wrong"
    check = actions.add_parser("check", help=what, description=f"{what.capitalize()}.")
    _pair_sources(check)
    what = "blurred and sharp pictures from your own sharp footage"
    make = actions.add_parser("make-pairs", help=what, description=f"{what.capitalize()}.")
    _making_options(make)
    asked = parser.parse_args(words)
    if asked.action == "make-pairs":
        return _make_pairs(asked)
    from vdeblur.cli import progress, show
    from vdeblur.data.layouts import survey

    with progress.counting("pairs") as tell:
        found = survey(asked.data, asked.sharp, blur=asked.blur, look=True, tell=tell)
    show.survey(found)
    if found.faults:
        raise InputError(f"{asked.data}: faults found: {len(found.faults)}, the first: {found.faults[0]}")
    return 0


def _make_pairs(asked: argparse.Namespace) -> int:
    from vdeblur.cli import progress
    from vdeblur.data.make_pairs import Making, make_pairs

    shortest, longest = asked.path
    making = Making(float(asked.exposure), asked.gamma, shortest, longest, asked.split, asked.seed)
    with progress.counting("pairs") as tell:
        made = make_pairs(asked.source, asked.output, making, tell)
    for note in made.notes:
        print(f"note: {note}", file=sys.stderr)
    clips = "1 clip" if made.clips == 1 else f"{made.clips} clips"
    print(f"{made.root}: {made.pairs} pairs in {clips}; `vdeblur data check {made.root}` shows them")
    return 0


def evaluate(words: list[str]) -> int:
    parser = Parser(
        "vdeblur eval",
        "What a network wins on pairs of blurred and sharp pictures or videos: PSNR, SSIM, brightness, "
        "flicker, speed. With SHARP but no --model or --weights the two sides are compared as they are.",
    )
    _pair_sources(parser)
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
    from vdeblur.cli import progress
    from vdeblur.measure import report

    targets = {f"--{name}": getattr(asked, name) for name in ("csv", "json", "html")}
    taken = [path for path in (asked.data, asked.sharp, asked.weights) if path is not None]
    for option, target in targets.items():
        if target is not None:
            report.check_target(target, option, *taken)
            taken.append(target)
    network = network_of(asked) | {"model": asked.model or "auto"}
    compares = asked.sharp is not None and asked.model is None and asked.weights is None
    from vdeblur.measure.evaluate import evaluate as judge

    measured: list[Evaluation] = []
    try:
        with progress.counting("frames") as tell:
            found = judge(
                asked.data,
                asked.sharp,
                blur=asked.blur,
                protocol=asked.protocol,
                network=None if compares else network,
                pictures=asked.html is not None,
                tell=tell,
                salvage=measured.append,
            )
        measured.append(found)
    finally:
        if measured:
            _report(measured[0], targets)
    return 0


def _report(found: Evaluation, targets: Mapping[str, Path | None]) -> None:
    """What was measured is shown, whether it could be written or not."""
    from vdeblur.cli import show
    from vdeblur.measure import report
    from vdeblur.measure.page import page

    try:
        for (option, target), text in zip(
            targets.items(), (report.csv_text, report.json_text, page), strict=True
        ):
            if target is not None:
                report.write(target, text(found), option)
    finally:
        show.columns(report.table(found))
        show.pairs(report.remarks(found) + report.definitions(found))


def _pair_sources(parser: argparse.ArgumentParser) -> None:
    """Where pairs lie, for every command that reads them."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="a data set, a list file, or the blurred side"
    )
    parser.add_argument("sharp", type=Path, nargs="?", metavar="SHARP", help="the sharp side, if elsewhere")
    parser.add_argument("--blur", metavar="KIND", help="where there are several: blur, blur_gamma, blur_comp")


def _making_options(parser: argparse.ArgumentParser) -> None:
    """What `data make-pairs` is told."""
    parser.add_argument(
        "source", type=Path, nargs="+", metavar="SOURCE", help="sharp videos, pictures, or folders of them"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ROOT", help="a new folder")
    parser.add_argument("--layout", choices=("reds",), default="reds", help="how the folders are laid out")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train")
    parser.add_argument(
        "--exposure",
        type=fraction,
        default=Fraction(1, 25),
        metavar="S",
        help="how long the shutter is open, in seconds (default 1/25); frames are averaged over it",
    )
    parser.add_argument(
        "--gamma", type=float, default=2.2, help="light = code ** gamma, for the average (default 2.2)"
    )
    parser.add_argument(
        "--path",
        type=float,
        nargs=2,
        default=(2.0, 30.0),
        metavar=("SHORTEST", "LONGEST"),
        help="of the camera's movement over a still picture, in pixels (default 2 30)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the camera's movements (default 1)")
