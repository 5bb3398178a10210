"""Make the int8 graphs of the package again, from its weights: python scripts/make_int8.py [NAME...]

    python scripts/make_int8.py --photographs FOLDER          all networks that bring a graph
    python scripts/make_int8.py mimo-unet-tiny                one, from the pictures of scikit-image

A graph belongs to one file of weights, by its checksum: run this whenever a .safetensors of the package has
been replaced.  Needs nncf.  Prints the size, and the gain kept on synthesised pairs set apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vdeblur.jobs.quantising import quantise
from vdeblur.weights import places, quantised

NAMES = {"mimo-unet-tiny": 1.5, "mimo-unet-small": 5.0}
"""Networks that bring a graph, and the most it may weigh, in MB."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("--photographs", type=Path, help="folder; default: the pictures of scikit-image")
    asked = parser.parse_args()
    for name in asked.names:
        weights = places.shipped()[name]
        target = weights.with_name(f"{name}{quantised.SUFFIX}")
        judged = quantise(weights, photographs=asked.photographs, target=target)
        facts, size_mb = judged.graph.facts, target.stat().st_size / 1e6
        print(
            f"{target.name}: {size_mb:.2f} MB, gain {judged.float32_db:+.4f} dB in float32, "
            f"{judged.int8_db:+.4f} dB in int8: {facts.gain_kept:.1%} kept on {facts.pairs} pairs",
            flush=True,
        )
        if size_mb > NAMES.get(name, 50.0):
            raise SystemExit(f"{target}: more than {NAMES[name]} MB")
        if facts.gain_kept < quantised.LEAST_GAIN_KEPT:
            print(f"    below {quantised.LEAST_GAIN_KEPT:.0%}: int8 will not be this network's default")


if __name__ == "__main__":
    main()
