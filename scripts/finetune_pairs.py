"""Does a short fine-tuning on real pairs help on clips that it has not seen? Each scene is left out once.

    python scripts/finetune_pairs.py PAIRS --start mimo-unet-tiny --steps 150

For each scene of PAIRS (`<set>/<clip>/{blur,sharp}`) a run on all other clips, scored on it before and after
through the engine: gain in PSNR over the blurred input (RGB, not rounded), mean over its pairs. Clips whose
names differ by a last digit only (facade, facade2) are one scene.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vdeblur.data.layouts import read_layout
from vdeblur.learn import run
from vdeblur.learn.events import Event, Scored
from vdeblur.learn.recipe import read_recipe

CONFIG = Path(__file__).resolve().parents[1] / "configs/finetune-reds-mimo-unet.toml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--start", default="mimo-unet-tiny", help="weights to start from")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=1e-4)
    options = parser.parse_args()
    names = [clip.name for clip in read_layout(options.pairs)]
    scenes = sorted({name.rstrip("0123456789") if name[:5] == "gopro" else name for name in names})
    changed = {"start": options.start, "steps": options.steps, "rate": options.rate, "crop": 160, "cut": 288}
    changed |= {"batch": 4, "pool": 64, "workers": 0, "turns": "all", "swap_colours": True, "ema": 0.98}
    changed |= {"tensorboard": False, "validate_every": 10**9, "log_every": 50}
    print(f"{'left out':<16}{'pairs':>6}{'before':>9}{'after':>9}   dB over the blurred input")
    won = []
    for scene in scenes:
        recipe = read_recipe(CONFIG, changed | {"validation": [scene]})
        found = run.find(recipe.settings, options.pairs, None)
        scores: list[Scored] = []

        def tell(event: Event, scores: list[Scored] = scores) -> None:
            if isinstance(event, Scored):
                scores.append(event)

        with tempfile.TemporaryDirectory() as folder:
            run.run(recipe, found, Path(folder), tell=tell, stop=lambda: False)
        before, after = scores[0].score, scores[-1].score
        won.append(after.gain_db - before.gain_db)
        print(f"{scene:<16}{before.pairs:>6}{before.gain_db:>+9.3f}{after.gain_db:>+9.3f}", flush=True)
    print(f"mean over scenes: {sum(won) / len(won):+.3f} dB, least {min(won):+.3f}")


if __name__ == "__main__":
    main()
