"""Train the networks that ship with vdeblur, from photographs alone.

    torchrun --nproc-per-node 2 scripts/train_default.py train configs/mimo-unet-tiny.toml \\
        --photographs PHOTOS --output runs/tiny
    torchrun --nproc-per-node 2 scripts/train_default.py train configs/mimo-unet-small.toml \\
        --photographs PHOTOS --output runs/small --grow runs/tiny/last.pt
    python scripts/train_default.py export runs/small/last.pt --output mimo-unet-small.safetensors
    python scripts/train_default.py revive runs/small/last.pt --photographs PHOTOS --output revived.pt

`small` grows from the trained `tiny`: twice the width, the same results at its first step. `revive` gives new
weights to units that a run has silenced, for `train --start`; `score` counts them. One process a core is
right (without torchrun there is one). Started again with the same output folder a run goes on from its
checkpoint. Single settings are changed with --set key=value ...; other `steps` and `decay` let a run be cut
short with a proper end, for the rate falls to zero over the last `decay` steps.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
import torch.distributed as dist

from vdeblur.data.feed import Feed, Share
from vdeblur.data.material import load_photographs
from vdeblur.data.samples import Samples, SynthesisedPairs
from vdeblur.data.synthesis import BlurSettings, Pair
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.learn import checkpoint
from vdeblur.learn.events import Event, line
from vdeblur.learn.judge import judge_made, validation_pairs
from vdeblur.learn.judge import score as score_on
from vdeblur.learn.recipe import changes, read_recipe
from vdeblur.learn.silence import count, revive
from vdeblur.learn.train import train
from vdeblur.learn.widen import widen
from vdeblur.metrics import psnr
from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.weights.loading import load_network


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", help="train, or go on with a run")
    command.add_argument("recipe", type=Path, help="flat TOML file of settings")
    command.add_argument("--set", nargs="*", default=[], metavar="key=value", help="settings that differ")
    command.add_argument("--photographs", type=Path, required=True)
    command.add_argument("--output", type=Path, required=True, help="folder of the run")
    command.add_argument("--grow", type=Path, help="checkpoint of a network of half the width to start from")
    command.add_argument("--start", type=Path, help="checkpoint of the same network to start from")
    command = commands.add_parser("export", help="write the averaged weights of a run as safetensors")
    command.add_argument("checkpoint", type=Path)
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--other", type=Path, help="another end of the same run, to be averaged with")
    command.add_argument("--share", type=float, default=0.5, help="of that other end (default %(default)s)")
    command.add_argument("--gain", type=float, default=1.0, help="factor on the full-size correction")
    command.add_argument("--offset", type=float, default=0.0, help="added to every pixel, in 1/255")
    command = commands.add_parser("revive", help="give silent units of a run's network new weights")
    command.add_argument("checkpoint", type=Path)
    command.add_argument("--photographs", type=Path, required=True)
    command.add_argument("--output", type=Path, required=True, help="checkpoint to --start from")
    command = commands.add_parser("score", help="synthetic pairs and sharp pictures, held out")
    command.add_argument("weights", type=Path, nargs="+")
    command.add_argument("--photographs", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "score":
        score(options.weights, options.photographs)
    elif options.command == "export":
        weights = averaged(options.checkpoint, options.other, options.share)
        export(options.checkpoint, weights, options.output, options.gain, options.offset)
    elif options.command == "revive":
        revived(options.checkpoint, options.photographs, options.output)
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    recipe = read_recipe(options.recipe, {"precision": "bf16"} | changes(options.set))
    settings = recipe.settings
    torch.manual_seed(settings.seed)
    network = recipe.make_network()
    if options.grow:
        narrow = MimoUNet(network.channels // 2, network.blocks, network.stem)
        narrow.load_state_dict(checkpoint.load(options.grow)["average"])
        network = widen(narrow, settings.seed)
    elif options.start:
        network.load_state_dict(checkpoint.load(options.start)["average"])
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    share = Share(settings.batch, rank, ranks, settings.accumulate)
    pairs = SynthesisedPairs(load_photographs(options.photographs), settings.motion, settings.seed)
    samples = Samples(pairs, settings.pool_of_slot(), settings.augmentation, share.slots, settings.seed)
    held = load_photographs(options.photographs, validation=True)
    judge = judge_made(validation_pairs(held, settings.motion)) if rank == 0 else None
    outcome = train(
        network,
        settings,
        Feed(samples, share, torch.device("cpu"), settings.workers),
        judge,
        options.output,
        precision=settings.precision,
        tell=tell,
    )
    print(f"{outcome.steps} steps, {outcome.skipped} skipped, {outcome.cpu_s / 3600:.2f} CPU hours a process")


def tell(event: Event) -> None:
    if words := line(event):
        print(words, flush=True)


def averaged(end: Path, other: Path | None, share: float) -> dict[str, torch.Tensor]:
    """The averaged weights of a run, or their mean with those of another end of it."""
    weights = checkpoint.load(end)["average"]
    if other is None:
        return weights
    others = checkpoint.load(other)["average"]
    return {name: (1 - share) * weights[name] + share * others[name] for name in weights}


def export(source: Path, weights: dict[str, torch.Tensor], target: Path, gain: float, offset: float) -> None:
    """Write weights of a run; `gain` and `offset` go into the last convolution, which makes the full size."""
    state = checkpoint.load(source)
    network = load_network(source).network
    assert isinstance(network, MimoUNet)
    facts = {
        "family": network.family,
        "channels": str(network.channels),
        "blocks": str(network.blocks),
        "stem": network.stem,
        "steps": str(state["step"]),
        "seed": str(state["settings"]["seed"]),
        "gain": f"{gain:g}",
        "offset": f"{offset:g}",
        "license": "Apache-2.0",
    }
    for name in ("weight", "bias"):
        weights[f"feat_extract.5.main.0.{name}"] *= gain
    weights["feat_extract.5.main.0.bias"] += offset / 255
    checkpoint.export(target, weights, facts)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {facts}")


def revived(source: Path, photographs: Path, target: Path) -> None:
    """Write a checkpoint whose network is that of `source` with all units speaking."""
    network = load_network(source).network
    assert isinstance(network, MimoUNet)
    units = revive(network, blurred(validation_pairs(load_photographs(photographs), BlurSettings())))
    state = checkpoint.load(source)
    facts = {key: state[key] for key in ("step", "settings")}
    checkpoint.save(target, facts | {"average": network.state_dict()})
    print(f"{target}: {units} units speak that did not")


def blurred(pairs: Sequence[Pair]) -> list[torch.Tensor]:
    """Their blurred sides as a network reads them. Of sharp pictures even a sound one says little."""
    return [torch.from_numpy(pair.blurred.copy()).permute(2, 0, 1)[None] / 255 for pair in pairs]


def score(files: list[Path], photographs: Path) -> None:
    """Print how each network does on held-out photographs: blurred by motion, sharp, and soft without motion.

    The 64 moving pairs are those of the default `BlurSettings` without soft scenes. What did not move must
    stay: there the figure is PSNR between input and result, 99 where they are the same.
    """
    sharp = load_photographs(photographs, validation=True)
    pairs = validation_pairs(sharp, BlurSettings(defocused=0.0))
    still = {
        "sharp": sharp,
        "softened by sigma 1.2": [cv2.GaussianBlur(picture, (0, 0), 1.2) for picture in sharp],
        "softened by sigma 2.5": [cv2.GaussianBlur(picture, (0, 0), 2.5) for picture in sharp],
        "enlarged by 2": [cv2.resize(cv2.pyrDown(picture), picture.shape[1::-1]) for picture in sharp],
        "sharp, codes times 0.3": [cv2.convertScaleAbs(picture, alpha=0.3) for picture in sharp],
    }
    for file in files:
        network = load_network(file).network
        gain_db = score_on(network, iter(pairs)).gain_db
        print(f"{file.name}: {gain_db:+.3f} dB on {len(pairs)} synthetic pairs")
        if isinstance(network, MimoUNet):
            print(f"    {count(network, blurred(pairs))}")
        with Deblurrer.load(weights=file, device="cpu", precision="fp32", backend="torch") as deblurrer:
            for kind, pictures in still.items():
                results = [deblurrer.deblur_array(picture) for picture in pictures]
                both = list(zip(results, pictures, strict=True))
                kept = [min(psnr(result, picture, 255), 99.0) for result, picture in both]
                shift = [float(result.mean()) - float(picture.mean()) for result, picture in both]
                print(
                    f"    {len(pictures)} {kind}: {sum(kept) / len(kept):.1f} dB to the result, "
                    f"least {min(kept):.1f}, {sum(k < 40 for k in kept)} below 40, "
                    f"{sum(k < 38 for k in kept)} below 38; "
                    f"mean shift {sum(shift) / len(shift):+.3f}, largest {max(shift, key=abs):+.3f}"
                )


if __name__ == "__main__":
    main()
