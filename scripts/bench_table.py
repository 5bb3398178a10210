#!/usr/bin/env python3
"""The tables in README.md and docs/benchmarks.md, made from what `vdeblur bench --json` wrote.

python scripts/bench_table.py JSON...                    # prints the table
python scripts/bench_table.py JSON... --into README.md   # puts it between the marks of that file

Files of single benchmarks and of sweeps, in the order of the table. The marks are `<!-- bench NAME -->` and
`<!-- end -->`, each on a line of its own; NAME is `table` unless --mark says otherwise.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HEAD = (
    "network",
    "size",
    "precision, backend",
    "on",
    "network alone, frames/s",
    "file to file, frames/s",
    "of the peak",
    "memory, MiB",
    "to float32",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, metavar="FILE")
    parser.add_argument("--mark", default="table", metavar="NAME")
    asked = parser.parse_args()
    made = table(asked.json)
    if asked.into is None:
        print(made, end="")
        return
    text = asked.into.read_text(encoding="utf-8")
    asked.into.write_text(replaced(text, asked.mark, made), encoding="utf-8")


def table(paths: Sequence[Path]) -> str:
    """Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *(row(found) for found in benchmarks(paths))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def replaced(text: str, mark: str, made: str) -> str:
    """A file's text with the table between its marks; raises SystemExit where there are none."""
    pattern = re.compile(rf"(<!-- bench {re.escape(mark)} -->\n).*?(<!-- end -->\n)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no line <!-- bench {mark} --> with an <!-- end --> after it")
    return pattern.sub(lambda found: found[1] + made + found[2], text)


def benchmarks(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Those that were measured; what failed in a sweep is left out."""
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        yield from (each for each in found.get("sweep", [found]) if "error" not in each)


def row(found: dict[str, Any]) -> tuple[str, ...]:
    engine, network, whole, parity = found["engine"], found["network"], found["whole"], found["parity"]
    share = network["work"] and network["work"]["share"]
    cores = f", {engine['threads']} cores" if engine["threads"] else ""
    memory = found["memory_on_device_mib"] or (whole and whole["memory_mib"])
    return (
        f"`{engine['model']}`" + (" (untrained)" if engine["untrained"] else ""),
        f"{found['width']}x{found['height']}",
        f"{engine['precision']}, {engine['backend']}",
        f"{engine['device_name']}{cores}",
        f"{network['fps']:.3g}",
        f"**{whole['steady_fps']:.3g}**" if whole else "not measured",
        f"{share:.0%}" if share else "unknown",
        f"{memory:.0f}" if memory else "unknown",
        "identical" if parity["psnr_db"] is None else f"{parity['psnr_db']:.1f} dB",
    )


if __name__ == "__main__":
    main()
