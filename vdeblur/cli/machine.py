"""`vdeblur demo`, `doctor` and `bench`: what this machine can do, without a file of yours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vdeblur.cli.options import Parser, network_of, network_options
from vdeblur.cli.values import size
from vdeblur.errors import InputError

if TYPE_CHECKING:
    from vdeblur.measure.benchmark import Asked


def demo(words: list[str]) -> int:
    parser = Parser("vdeblur demo", "Makes a shaken clip with sound, deblurs it, and measures what was won.")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("vdeblur-demo"),
        metavar="DIR",
        help="where all of it goes (default %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the clip (default %(default)s)")
    network_options(parser)
    asked = parser.parse_args(words)
    from vdeblur.cli import progress, show
    from vdeblur.measure.demo import demo as make

    with progress.doing("making a shaken clip, deblurring it, measuring"):
        result = make(asked.folder, seconds=asked.seconds, **network_of(asked))
    show.pairs(result.describe())
    return 0


def doctor(words: list[str]) -> int:
    parser = Parser(
        "vdeblur doctor", "What this machine can do: devices, encoders, runtimes, expected speed."
    )
    parser.parse_args(words)
    from vdeblur.cli import progress, show
    from vdeblur.measure.doctor import examine

    with progress.doing("trying devices and encoders"):
        report = examine()
    show.pairs(report.describe())
    return 0


def bench(words: list[str]) -> int:
    parser = Parser(
        "vdeblur bench",
        "Speed that cannot flatter: the network by three clocks, each stage alone, the whole from file to "
        "file, beside the device's own peak and the likeness to plain float32.",
    )
    _bench_options(parser)
    asked = parser.parse_args(words)
    from vdeblur.measure import report

    if asked.json is not None:
        own = [path for path in (asked.input, asked.weights) if path is not None]
        report.check_target(asked.json, "--json", *own)
    from vdeblur.cli import progress, show
    from vdeblur.measure import bench_report, bench_rows, benchmark

    old = None if asked.compare is None else bench_rows.read(asked.compare, "--compare")
    wanted = benchmark.Asked(**network_of(asked), size=asked.size, frames=asked.frames, input=asked.input)
    benchmark.check(wanted)
    if asked.sweep:
        return _sweep(wanted, asked)
    found = None
    try:
        with progress.doing() as tell:
            for found in benchmark.bench(wanted, tell):  # shown below, also what there is after Ctrl-C
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
    from vdeblur.cli import progress, show
    from vdeblur.measure.sweep import sweep, table

    rows: list[dict[str, Any]] = []
    try:
        with progress.doing() as tell:
            for row in sweep(wanted, asked.json, tell):
                rows.append(row)
                tell(" ".join(table([row])[1]).strip())
    finally:
        if rows:
            show.tables([("Sweep", table(rows))])
    return 0


def _bench_options(parser: argparse.ArgumentParser) -> None:
    network_options(parser)
    part = parser.add_argument_group("what to measure")
    part.add_argument(
        "--size", type=size, metavar="WxH", help="of a clip made on the spot (default 1280x720)"
    )
    part.add_argument("--input", type=Path, metavar="FILE", help="a video of yours instead")
    part.add_argument(
        "--frames", type=int, metavar="N", help="of the whole (default: what takes 10 s, 300 at most)"
    )
    part.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    part.add_argument("--compare", type=Path, metavar="OLD.json", help="beside an earlier one")
    part.add_argument(
        "--sweep", action="store_true", help="all networks, precisions and sizes, beside published figures"
    )
