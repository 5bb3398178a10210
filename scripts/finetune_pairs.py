"""Does a short fine-tuning on real pairs help on clips that it has not seen? Each scene is left out once.

    python scripts/finetune_pairs.py PAIRS --start mimo-unet-tiny

For each scene of PAIRS (`<set>/<clip>/{blur,sharp}`) a run of configs/finetune-pairs.toml on all other clips,
scored on that scene through the engine: gain in PSNR over the blurred input (RGB, not rounded), mean over its
pairs, of the weights before, after, and of the mean of both. Clips whose names differ by a last digit only
(facade, facade2) are one scene.

All clips count alike, however many frames they have. From half of the pairs brightness is taken out, as from
synthesised ones. The mean of both weights keeps more of what the first knew of other cameras (Wortsman et
al., Robust fine-tuning of zero-shot models, CVPR 2022, who advise a half where nothing is known of them).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vdeblur.data import splits
from vdeblur.data.layouts import read_layout
from vdeblur.learn import run
from vdeblur.learn.events import Event, Scored
from vdeblur.learn.judge import judge_files
from vdeblur.learn.recipe import SHIPPED, read_recipe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--start", default="mimo-unet-tiny", help="weights to start from")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--scene", nargs="*", help="only these are left out")
    options = parser.parse_args()
    names = [clip.name for clip in read_layout(options.pairs)]
    scenes = {name.rstrip("0123456789") if name[:5] == "gopro" else name for name in names}
    changed = {"start": options.start, "steps": options.steps, "rate": options.rate}
    changed |= {"balanced": True, "neutral": 0.5, "validate_every": 10**9}
    print(f"{'left out':<16}{'pairs':>6}{'before':>9}{'after':>9}{'mean':>9}   dB over the blurred input")
    won = []
    for scene in options.scene or sorted(scenes):
        recipe = read_recipe(SHIPPED / "finetune-pairs.toml", changed | {"validation": [scene]})
        found = run.find(recipe.settings, options.pairs, None)
        scores: list[Scored] = []

        def tell(event: Event, scores: list[Scored] = scores) -> None:
            if isinstance(event, Scored):
                scores.append(event)

        with tempfile.TemporaryDirectory() as folder:
            network = run.run(recipe, found, Path(folder), tell=tell, stop=lambda: False).network
        with torch.no_grad():
            for weight, old in zip(network.parameters(), recipe.make_network().parameters(), strict=True):
                weight.lerp_(old, 0.5)
        mean = judge_files(splits.files(found.judging), recipe.settings.validate_pictures)(network)
        gains = [scores[0].score.gain_db, scores[-1].score.gain_db, mean.gain_db]
        won.append([gain - gains[0] for gain in gains[1:]])
        figures = "".join(f"{gain:>+9.3f}" for gain in gains)
        print(f"{scene:<16}{mean.pairs:>6}{figures}", flush=True)
    for name, each in zip(("after", "mean of both weights"), zip(*won, strict=True), strict=True):
        rise = sum(value > 0 for value in each)
        won_db = f"{sum(each) / len(each):+.3f} dB over scenes, least {min(each):+.3f}"
        print(f"{name}: {won_db}; {rise} of {len(each)} rise")


if __name__ == "__main__":
    main()
