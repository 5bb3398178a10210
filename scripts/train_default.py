"""Train the networks that ship with vdeblur, from photographs alone.

    torchrun --nproc-per-node 2 scripts/train_default.py tiny  --photographs PHOTOS --output runs/tiny
    torchrun --nproc-per-node 2 scripts/train_default.py small --photographs PHOTOS --output runs/small \\
        --grow runs/tiny/last.pt
    python scripts/train_default.py export runs/small/last.pt --output mimo-unet-small.safetensors

`small` grows from the trained `tiny`: twice the width, the same results at its first step. One process a core
is right (without torchrun there is one). Started again with the same output folder a run goes on from its
checkpoint; --steps and --decay may then be others, so that a run can be cut short with a proper end: the rate
falls to zero over the last `decay` steps.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from vdeblur.learn import checkpoint
from vdeblur.learn.train import Settings, train
from vdeblur.learn.widen import widen
from vdeblur.models.mimo_unet import MimoUNet

BLOCKS = 4
RECIPES = {
    "tiny": Settings(Path(), Path(), steps=16_000, decay=6_000, batch=8, crop=160, optimizer="muon"),
    "small": Settings(Path(), Path(), steps=12_000, decay=6_000, batch=8, crop=160, optimizer="muon"),
}
"""`batch` is that of one process."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, recipe in RECIPES.items():
        command = commands.add_parser(name)
        command.add_argument("--photographs", type=Path, required=True)
        command.add_argument("--output", type=Path, required=True, help="folder of the run")
        command.add_argument(
            "--grow", type=Path, help="checkpoint of a network of half the width to start from"
        )
        command.add_argument("--start", type=Path, help="checkpoint of the same network to start from")
        for field in ("steps", "decay", "batch", "crop", "seed", "reuse"):
            command.add_argument(f"--{field}", type=int, default=getattr(recipe, field))
        for field in ("rate", "ema"):
            command.add_argument(f"--{field}", type=float, default=getattr(recipe, field))
        command.add_argument("--loss", choices=("mimo", "relative"), default=recipe.loss)
        command.add_argument("--fp32", action="store_true", help="for processors without bfloat16")
    command = commands.add_parser("export", help="write the averaged weights of a run as safetensors")
    command.add_argument("checkpoint", type=Path)
    command.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "export":
        export(options.checkpoint, options.output)
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    torch.manual_seed(options.seed)
    names = (
        "photographs",
        "output",
        "steps",
        "decay",
        "batch",
        "crop",
        "seed",
        "reuse",
        "rate",
        "ema",
        "loss",
    )
    settings = replace(
        RECIPES[options.command],
        **{name: getattr(options, name) for name in names},
        bf16=not options.fp32,
    )
    channels = {"tiny": 16, "small": 32}[options.command]
    network = MimoUNet(channels, BLOCKS, "half")
    if options.grow:
        narrow = MimoUNet(channels // 2, BLOCKS, "half")
        narrow.load_state_dict(checkpoint.load(options.grow)["average"])
        network = widen(narrow, options.seed)
    elif options.start:
        network.load_state_dict(checkpoint.load(options.start)["average"])
    outcome = train(network, settings, lambda line: print(line, flush=True))
    print(f"{outcome.steps} steps, {outcome.skipped} skipped, {outcome.cpu_s / 3600:.2f} CPU hours a process")


def export(source: Path, target: Path) -> None:
    state = checkpoint.load(source)
    weights = state["average"]
    channels, inputs = weights["feat_extract.0.main.0.weight"].shape[:2]
    facts = {
        "family": "mimo-unet",
        "channels": str(channels),
        "blocks": str(BLOCKS),
        "stem": "half" if inputs == 12 else "full",
        "steps": str(state["step"]),
        "seed": str(state["settings"]["seed"]),
        "license": "Apache-2.0",
    }
    checkpoint.export(target, weights, facts)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {facts}")


if __name__ == "__main__":
    main()
