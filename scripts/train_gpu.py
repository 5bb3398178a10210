"""A whole call of training on a GPU: pairs made there, a time limit, a checkpoint in small files, scores.

    python scripts/train_gpu.py configs/mimo-unet-gpu.toml --photographs PHOTOS --run RUN --minutes 8
    python scripts/train_gpu.py ...                the same again: it goes on where it ended
    python scripts/train_gpu.py ... --falling 3    the last call: in its last 3 minutes the rate falls to zero
    python scripts/train_gpu.py configs/mimo-unet-gpu.toml --photographs PHOTOS --throughput
    python scripts/train_gpu.py --unpack RUN --output last.pt      (then: train_default.py export last.pt)

RUN holds `part-N.pt` (weights, average, optimizers in half precision, each file under 16 MB) and `log.csv`.
Needs torch and numpy only, and OpenCV or Pillow to read the photographs; without --photographs it trains on
drawings.
`--grow RUN` starts from a network of half the width, `--start RUN` from one of the same size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from vdeblur.data import device_scenery
from vdeblur.data.device_feed import DeviceFeed
from vdeblur.data.feed import Share
from vdeblur.data.samples import read_picture
from vdeblur.data.synthesis import Pair, held_out
from vdeblur.data.synthesis_torch import DevicePairs
from vdeblur.learn import checkpoint, parcels
from vdeblur.learn.events import Event, Figures, line
from vdeblur.learn.judge import Score, score
from vdeblur.learn.recipe import Recipe, changes, read_recipe
from vdeblur.learn.settings import Settings
from vdeblur.learn.silence import count
from vdeblur.learn.train import Outcome, train
from vdeblur.learn.widen import widen
from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet

CHUNK = 64  # pairs made at a time
LATE_S = 20  # that a run which ends by its steps may take longer than was reckoned
LAPS = 30  # steps that are timed by --throughput, after as many that are not


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, nargs="?", help="flat TOML file of settings")
    parser.add_argument("--photographs", type=Path, help="folder of .jpg and .png files")
    parser.add_argument("--run", type=Path, default=Path("runs/gpu"), help="folder of the run's parts")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="of training, saving and scoring not counted"
    )
    parser.add_argument(
        "--falling", type=float, default=0.0, metavar="MINUTES",
        help="of --minutes, the last so many end the run: the rate falls to zero, whatever `steps` says",
    )  # fmt: skip
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="settings that differ")
    parser.add_argument("--grow", type=Path, help="run or checkpoint of a network of half the width")
    parser.add_argument(
        "--start", type=Path, help="run or checkpoint of the same network, with a new schedule"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--throughput", action="store_true", help="only measure pictures a second")
    parser.add_argument("--unpack", type=Path, metavar="RUN", help="only make a checkpoint of a run's parts")
    parser.add_argument("--output", type=Path, default=Path("last.pt"), help="of --unpack")
    options = parser.parse_args()
    if options.unpack:
        checkpoint.save(options.output, parcels.unpack(options.unpack))
        print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")
        return
    if options.recipe is None:
        parser.error("name a recipe")
    if options.falling >= options.minutes > 0:
        parser.error("--falling must be shorter than --minutes: how fast steps are is seen before it")
    recipe = read_recipe(options.recipe, {"precision": "bf16", "on_device": True} | changes(options.set))
    device = torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    training, held = photographs(options.photographs, device, recipe.settings)
    if options.throughput:
        throughput(recipe, training, device)
    else:
        campaign(options, recipe, training, held, device)


def campaign(
    options: argparse.Namespace,
    recipe: Recipe,
    training: list[torch.Tensor],
    held: list[torch.Tensor],
    device: torch.device,
) -> None:
    began = time.perf_counter()
    s = recipe.settings
    network = first_network(options, recipe)
    work = options.run / "work"  # the whole checkpoint while this call runs
    if (options.run / "part-0.pt").is_file():
        checkpoint.save(work / "last.pt", parcels.unpack(options.run))
    if (options.run / "log.csv").is_file():
        (options.run / "log.csv").replace(work / "log.csv")
    pairs = judging_pairs(held, s)
    print(
        f"{len(training)} pictures, {len(held)} held out; ready after {time.perf_counter() - began:.0f} s",
        flush=True,
    )

    def judge(candidate: DeblurNetwork) -> Score:
        return score(candidate, iter(pairs), str(device))

    parcel = Parcel(work / "last.pt", options.run)
    figures: list[Figures] = []
    feed = DeviceFeed(
        DevicePairs(training, s.motion, s.seed, CHUNK), Share(s.batch, parts=s.accumulate),
        s.augmentation, s.pool, s.reuse, s.seed,
    )  # fmt: skip

    def hear(event: Event) -> None:
        if isinstance(event, Figures):
            figures.append(event)
        tell(event)

    def train_until(end: float, s: Settings) -> Outcome:
        return train(
            network, s, feed, judge, work, device=device, precision=s.precision, tell=hear,
            stop=lambda: parcel.again() or time.monotonic() > end,
        )  # fmt: skip

    end = time.monotonic() + 60 * options.minutes
    if options.falling:
        outcome = train_until(end - 60 * options.falling, replace(s, steps=10**9))
        steps_a_s = figures[-1].samples_per_s / (s.batch * s.accumulate) if figures else 0.0
        left = max(1, round(steps_a_s * (end - time.monotonic())))
        s, end = replace(s, steps=outcome.steps + left, decay=left), end + LATE_S
    outcome = train_until(end, s)
    parcel.again()
    files = sorted(options.run.glob("part-*.pt"))
    (work / "log.csv").replace(options.run / "log.csv")
    for file in (work / "last.pt", work / "best.pt"):
        file.unlink(missing_ok=True)
    sizes = ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in files)
    print(f"step {outcome.steps} of {s.steps}, {outcome.skipped} skipped; {sizes}")
    final = judge(outcome.network)
    words = f"{final.gain_db:+.3f} dB, worst {final.worst_db:+.3f}, mean shift {final.shift:+.2f}"
    print(f"held-out synthetic pairs: {words}")
    step = outcome.network.multiple_of
    still = [rgb(picture, step) for picture in held]
    print(f"{len(still)} sharp pictures: {kept(outcome.network, still)}")
    if isinstance(outcome.network, MimoUNet):
        blurred = [torch.from_numpy(pair.blurred).to(device).permute(2, 0, 1) for pair in pairs]
        print(count(outcome.network, [rgb(side, step) for side in blurred]))


class Parcel:
    """Packs the checkpoint whenever there is a new one, so that a call that is cut off loses little."""

    def __init__(self, last: Path, folder: Path) -> None:
        self.last, self.folder = last, folder
        self.packed = last.stat().st_mtime_ns if last.is_file() else 0

    def again(self) -> bool:
        """Always False: never a reason to stop."""
        if self.last.is_file() and self.last.stat().st_mtime_ns != self.packed:
            self.packed = self.last.stat().st_mtime_ns
            parcels.pack(checkpoint.load(self.last), self.folder)
        return False


def first_network(options: argparse.Namespace, recipe: Recipe) -> DeblurNetwork:
    network = recipe.make_network()
    source = options.grow or options.start
    if source is None:
        return network
    state = parcels.unpack(source) if source.is_dir() else checkpoint.load(source)
    if options.start:
        network.load_state_dict(state["average"])
        return network
    assert isinstance(network, MimoUNet)
    narrow = MimoUNet(network.channels // 2, network.blocks, network.stem)
    narrow.load_state_dict(state["average"])
    return widen(narrow, recipe.settings.seed)


def photographs(
    folder: Path | None, device: torch.device, s: Settings
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Pictures on the device to train on, and held out (by name); drawings without a folder."""
    if folder is not None:
        training, held = [], []
        files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        try:
            for path in files:
                tensor = torch.from_numpy(read_picture(path).copy()).permute(2, 0, 1).contiguous()
                (held if held_out(path.name) else training).append(tensor.to(device))
        except ImportError:
            sys.exit("neither OpenCV nor Pillow is here to read photographs; without --photographs it draws")
        if not training or not held:
            sys.exit(f"{folder}: {len(training)} photographs to train on, {len(held)} held out by name")
        return training, held
    random = torch.Generator(device).manual_seed(s.seed + 1)
    made = [device_scenery.dead_leaves(random, 2 * s.motion.size, device) for _ in range(72)]
    return made[:64], made[64:]


def judging_pairs(held: list[torch.Tensor], s: Settings) -> list[Pair]:
    """Pairs of held-out pictures, the same in every call."""
    made = DevicePairs(held, replace(s.motion, defocused=0.0), 20_261_121, 16)
    return [
        Pair(array(blurred), array(sharp))
        for number in range(max(1, s.validate_pictures // 16))
        for blurred, sharp in zip(*made(number), strict=True)
    ]


def array(picture: torch.Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).contiguous().cpu().numpy()


def rgb(picture: torch.Tensor, step: int) -> torch.Tensor:
    """A picture as the network reads it: 1x3xHxW in [0, 1], sides that are multiples of `step`."""
    height, width = (side // step * step for side in picture.shape[-2:])
    return picture[None, :, :height, :width].float() / 255


@torch.no_grad()
def kept(network: DeblurNetwork, still: list[torch.Tensor]) -> str:
    """How little sharp pictures change, in the network's own arithmetic."""
    kept_db, shifts = [], []
    for picture in still:
        # Every picture has a size of its own: trying kernels for each takes longer than the pictures.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            change = (network(picture).clamp(0, 1) * 255).round() - (picture * 255).round()
        kept_db.append(10 * np.log10(255**2 / max(float(change.square().mean()), 1e-9)))
        shifts.append(float(change.mean()))
    least, shift = min(kept_db), np.mean(shifts)
    return f"{np.mean(kept_db):.1f} dB to the result, least {least:.1f}; mean shift {shift:+.3f}"


def throughput(recipe: Recipe, training: list[torch.Tensor], device: torch.device) -> None:
    """Pictures a second with and without waiting for pairs, and the share of time that pairs take."""
    s = replace(recipe.settings, steps=2 * LAPS, log_every=LAPS, save_every=10**9, validate_every=10**9)
    figures: list[Figures] = []
    for kind in ("pairs made while training", "one batch again and again"):
        feed = DeviceFeed(
            DevicePairs(training, s.motion, s.seed, CHUNK), Share(s.batch, parts=s.accumulate),
            s.augmentation, s.pool if kind.startswith("pairs") else CHUNK, s.reuse, s.seed,
        )  # fmt: skip
        if kind.startswith("one"):
            same = next(feed(0))
            batches = lambda step, same=same: iter(lambda: same, None)  # noqa: E731
        else:
            batches = feed
        seen: list[Event] = []
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(1)
            train(
                recipe.make_network(), s, batches, None, Path(folder), device=device, precision=s.precision,
                tell=seen.append,
            )  # fmt: skip
        figures.append([event for event in seen if isinstance(event, Figures)][-1])
        print(f"{kind}: {figures[-1].samples_per_s:.1f} pictures/s of {s.crop}x{s.crop}")
    share = 1 - figures[0].samples_per_s / figures[1].samples_per_s
    print(
        f"{share:.1%} of the time goes into pairs (reuse {s.reuse}, batch {s.batch}, {s.precision}, {device})"
    )


def tell(event: Event) -> None:
    if words := line(event):
        print(words, flush=True)


if __name__ == "__main__":
    main()
