"""Score weights on real pairs of blurred and sharp pictures, and on the sharp ones alone.

    python scripts/score_pairs.py PAIRS WEIGHTS...       PAIRS/<set>/<clip>/{blur,sharp}/*.png

PSNR is taken over RGB, 8 bit, after rounding; means go over the pictures of a clip, then clips, then sets.
`gain` is PSNR(result, sharp) - PSNR(blurred, sharp); `worst` the smallest gain of a picture; `blurred`,
`result` and `sharp` are mean brightness in 1/255; `untouched` is PSNR between a sharp picture and the
network's result on it (mean, with equal pictures counted as 100 dB) and `shift` the mean change of
its brightness. Clips marked * are those by which trials are chosen; `others` is the mean over the remaining
ones. With --crf the blurred side is what H.264 leaves of it, as in the files that people have.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from vdeblur.data import sensor
from vdeblur.data.samples import read_picture
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.metrics import psnr
from vdeblur.weights.catalogue import ENSEMBLE

CHOOSING = ("reds/000", "reds_x4/v000", "gopro/car", "gopro/building")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument(
        "weights", type=Path, nargs="+", help=".safetensors, or last.pt of a run (its average)"
    )
    parser.add_argument("--every", type=int, default=1, help="score every n-th frame of a clip only")
    parser.add_argument(
        "--crf", type=int, help="the blurred side after libx264 with this constant rate factor"
    )
    parser.add_argument("--brief", action="store_true", help="one line for each file of weights")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16, ...; as for `vdeblur --precision`")
    parser.add_argument("--backend", default="torch", help="torch, openvino; as for `vdeblur --backend`")
    parser.add_argument("--ensemble", action="store_true", help="the mean over four rotations")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = ENSEMBLE if options.ensemble else "auto"
    for weights in options.weights:
        with Deblurrer.load(
            model, weights=weights, device="cpu", precision=options.precision, backend=options.backend
        ) as deblurrer:
            rows = score(deblurrer, options.pairs, options.every, options.crf)
        print(brief(weights, rows) if options.brief else table(weights, rows), flush=True)


Row = dict[str, float]


def score(deblurrer: Deblurrer, pairs: Path, every: int, crf: int | None = None) -> dict[str, Row]:
    """Means over the frames of each clip, by "<set>/<clip>"."""
    rows: dict[str, Row] = {}
    for clip in sorted(path.parent for path in pairs.glob("*/*/blur")):
        frames: dict[str, list[float]] = defaultdict(list)
        for path in sorted((clip / "blur").glob("*.png"))[::every]:
            blurred, sharp = read_picture(path), read_picture(clip / "sharp" / path.name)
            if crf is not None:
                [blurred] = sensor.h264([blurred], crf)
            result, untouched = deblurrer.deblur_array(blurred), deblurrer.deblur_array(sharp)
            frames["before"].append(psnr(blurred, sharp, 255))
            frames["after"].append(psnr(result, sharp, 255))
            frames["blurred"].append(float(blurred.mean()))
            frames["result"].append(float(result.mean()))
            frames["sharp"].append(float(sharp.mean()))
            frames["untouched"].append(min(100.0, psnr(untouched, sharp, 255)))
            frames["shift"].append(float(untouched.mean()) - float(sharp.mean()))
        row = {key: float(np.mean(values)) for key, values in frames.items()}
        row["gain"] = row["after"] - row["before"]
        row["worst"] = float(np.min(np.array(frames["after"]) - np.array(frames["before"])))
        rows[f"{clip.parent.name}/{clip.name}"] = row
    if not rows:
        sys.exit(f"{pairs}: no <set>/<clip>/blur folders here")
    return rows


def table(weights: Path, rows: dict[str, Row]) -> str:
    """A Markdown table: clips, then sets, then the mean over the sets."""
    head = ["clip", "before", "after", "gain", "worst", "blurred", "result", "sharp", "untouched", "shift"]
    lines = [f"{weights.name}", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    sets = by_set(rows)
    named = {(f"{name} *" if name in CHOOSING else name): row for name, row in rows.items()}
    for name, row in (
        named | {f"**{name}**": row for name, row in sets.items()} | {"**mean**": mean(sets)}
    ).items():
        cells = [
            name,
            *(
                f"{row[key]:+.3f}" if key in ("gain", "worst", "shift") else f"{row[key]:.2f}"
                for key in head[1:]
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    chosen, others = by_choice(rows)
    if chosen and others:
        lines.append(
            f"\ngain on the choosing clips {chosen['gain']:+.3f} dB, on the others {others['gain']:+.3f} dB\n"
        )
    return "\n".join(lines)


def brief(weights: Path, rows: dict[str, Row]) -> str:
    sets = by_set(rows)
    chosen, _ = by_choice(rows)
    parts = [
        f"{name} {row['gain']:+.3f} ({row['result'] - row['blurred']:+.2f})" for name, row in sets.items()
    ]
    all_sets = mean(sets)
    worst = min(row["worst"] for row in rows.values())
    figures = [
        f"mean {all_sets['gain']:+.3f}",
        *([f"choosing {chosen['gain']:+.3f}"] if chosen else []),
        *parts,
        f"worst {worst:+.3f}",
        f"untouched {all_sets['untouched']:.1f} dB {all_sets['shift']:+.3f}",
    ]
    return f"{weights.parent.name}/{weights.name}: " + "  ".join(figures)


def by_choice(rows: dict[str, Row]) -> tuple[Row | None, Row | None]:
    """The mean over the clips that trials are chosen by, and over the others; None where there are none."""
    sides: tuple[dict[str, Row], dict[str, Row]] = {}, {}
    for name, row in rows.items():
        sides[name not in CHOOSING][name] = row
    chosen, others = (mean(by_set(side)) if side else None for side in sides)
    return chosen, others


def by_set(rows: dict[str, Row]) -> dict[str, Row]:
    sets: dict[str, list[Row]] = defaultdict(list)
    for name, row in rows.items():
        sets[name.split("/")[0]].append(row)
    return {name: mean(dict(enumerate(members))) for name, members in sets.items()}


def mean(rows: dict[str, Row] | dict[int, Row]) -> Row:
    """The mean of each figure; of `worst` the least."""
    members = list(rows.values())
    result = {key: float(np.mean([row[key] for row in members])) for key in members[0]}
    return result | {"worst": min(row["worst"] for row in members)}


if __name__ == "__main__":
    main()
