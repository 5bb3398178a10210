#!/usr/bin/env python3
"""Where a network's time goes on a GPU: its kernels, largest first, for one frame of 1280x720.

python scripts/gpu_kernels.py --model mimo-unet [--precision fp16] [--size 1280x720]

The ways that `engine/ways.py` knows are timed beside each other, each as one captured graph; then the kernels
of the quickest, replayed, as torch's profiler sees them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.profiler import ProfilerActivity, profile

from vdeblur.cli.options import size
from vdeblur.engine.cuda import Cuda
from vdeblur.engine.eager import trial_picture
from vdeblur.engine.ways import ways_of
from vdeblur.measure import untrained
from vdeblur.weights import loading, store

LAPS = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mimo-unet")
    parser.add_argument("--precision", default="fp16", choices=("fp16", "bf16", "fp32"))
    parser.add_argument("--size", type=size, default=(720, 1280))
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpu_kernels: torch sees no CUDA device here", file=sys.stderr)
        return 2
    device = Cuda(torch.device("cuda:0"))
    with TemporaryDirectory() as folder:
        model, weights, _ = untrained.find_or_make(asked.model, None, "cuda", Path(folder))
        ref = store.resolve(model, weights, "cuda")
        network = loading.load_network(ref.path, ensemble=ref.ensemble).network.eval().to(device.place)
    height, width = asked.size
    picture = trial_picture(max(asked.size))[..., :height, :width].to(device.place)
    best = None
    for way in ways_of(network, asked.precision):
        stream = device.stream()
        try:
            correct = way.make()
            with torch.inference_mode():
                replay = device.capture(lambda correct=correct: correct(picture), stream)
        except Exception as error:
            print(f"{way.name}: {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        seconds = device.seconds(replay, stream)
        print(f"{way.name}: {seconds * 1000:.3f} ms")
        if best is None or seconds < best[0]:
            best = seconds, way.name, replay
    if best is None:
        return 1
    seconds, name, replay = best
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(LAPS):
            replay()
        device.settle()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    print(f"\n{asked.model}, {width}x{height}, {name}: {total / LAPS / 1000:.3f} ms in kernels\n")
    print(f"{'ms a frame':>10} {'share':>6} {'calls':>6}  kernel")
    for row in rows[:25]:
        spent = row.self_device_time_total
        print(f"{spent / LAPS / 1000:10.3f} {spent / total:6.1%} {row.count // LAPS:6d}  {row.key[:110]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
