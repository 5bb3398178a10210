#!/usr/bin/env python3
"""Where a network's time goes on a GPU, for one frame of 1280x720: memory, ways, frames at a time, kernels.

python scripts/gpu_kernels.py --model mimo-unet [--precision fp16] [--size 1280x720]

First the memory that its convolutions move, counted; this needs no GPU. Then the ways that `engine/ways.py`
knows, each as one captured graph, and how long it took to open; the kernels of the quickest, replayed, as
torch's profiler sees them; the same way with the kernels that cuDNN would choose by itself, then for two and
four frames at a time; last after all of cuDNN's kernels were tried instead of ten a shape.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from vdeblur.cli.values import size
from vdeblur.engine.corrector import trial_picture
from vdeblur.engine.cuda import Cuda
from vdeblur.engine.opening import BATCHES
from vdeblur.engine.rewrite import Conv, plain, rewritten
from vdeblur.engine.ring import Work
from vdeblur.engine.ways import TRIED, Way, ways_of
from vdeblur.measure import untrained
from vdeblur.models.contract import DeblurNetwork
from vdeblur.weights import loading, store

LAPS = 10
BYTES_A_MS = 4.3e9
"""What an H200 copies, read and written."""

say = partial(print, flush=True)  # what is there when it is stopped is worth having


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mimo-unet")
    parser.add_argument("--precision", default="fp16", choices=("fp16", "bf16", "fp32"))
    parser.add_argument("--size", type=size, default=(720, 1280))
    asked = parser.parse_args()
    height, width = asked.size
    with TemporaryDirectory() as folder:
        model, weights, _ = untrained.find_or_make(asked.model, None, "cuda", Path(folder))
        ref = store.resolve(model, weights, "cuda")
        network = loading.load_network(ref.path, ensemble=ref.ensemble).network.eval()
    say(f"{asked.model}, {width}x{height}, float16: {traffic(network, height, width)}\n")
    if not torch.cuda.is_available():
        print("gpu_kernels: torch sees no CUDA device here", file=sys.stderr)
        return 2
    device = Cuda(torch.device("cuda:0"))
    network.to(device.place)
    picture = trial_picture(max(asked.size))[..., :height, :width].to(device.place)
    held: list[tuple[float, Way, Work]] = []
    for way in ways_of(network, asked.precision):
        found = tried(way.name, device, way, picture)
        if found is not None:
            held.append((found[0], way, found[1]))
    if not held:
        return 1
    _, best, replay = min(held, key=lambda each: each[0])
    kernels(f"{best.name}, one frame at a time", device, replay)
    say()

    def with_kernels(words: str, count: int | None) -> None:
        """The same way once more; in a thread of its own, as cuDNN's choices are kept for each thread."""
        way = next(way for way in ways_of(network, asked.precision, count) if way.name == best.name)
        with ThreadPoolExecutor(1) as other:
            other.submit(tried, f"{best.name}, {words}", device, way, picture).result()

    with_kernels("cuDNN's own choice of kernels", None)
    for count in BATCHES:
        tried(f"{best.name}, {count} frames at a time", device, best, picture.repeat(count, 1, 1, 1))
    again = device.seconds(replay, device.stream())
    say(f"{best.name}, {TRIED} kernels tried for a shape: {again * 1000:.3f} ms a frame")
    with_kernels("all kernels tried", 0)
    return 0


def tried(name: str, device: Cuda, way: Way, pictures: Tensor) -> tuple[float, Work] | None:
    """Seconds for a frame, and the graph; says both, or why there is none."""
    stream, begin = device.stream(), time.perf_counter()
    try:
        correct = way.make()
        with torch.inference_mode():
            replay = device.capture(lambda: correct(pictures), stream)
        opened = time.perf_counter() - begin
        seconds = device.seconds(replay, stream) / len(pictures)
    except Exception as error:
        say(f"{name}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
        return None
    say(f"{name}: {seconds * 1000:.3f} ms a frame, open after {opened:.1f} s")
    return seconds, replay


def kernels(name: str, device: Cuda, replay: Work) -> None:
    """The table of what one replay spends its time in."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(LAPS):
            replay()
        device.settle()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    if not total:
        say(f"\n{name}: torch's profiler sees no kernels here")
        return
    say(f"\n{name}: {total / LAPS / 1000:.3f} ms in kernels\n")
    say(f"{'ms a frame':>10} {'share':>6} {'calls':>6}  kernel")
    for row in rows[:25]:
        spent = row.self_device_time_total
        say(f"{spent / LAPS / 1000:10.3f} {spent / total:6.1%} {row.count // LAPS:6d}  {row.key[:110]}")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of memory that a network's convolutions in float16 move for a frame; caches are not counted.

    once     every input, summand and weight read once, every result written once
    passes   more, by the pass for bias and sum over the result where cuDNN's kernel has no part in it
    unused   more, where cuDNN reads its own result as a summand times 0 (with a ReLU, and nothing to add)
    """

    convolutions: int
    once: int
    passes: int
    unused: int

    def __str__(self) -> str:
        parts = {
            "as they run": self.once + self.passes + self.unused,
            "if each tensor were read and written once": self.once,
            "of it in passes for bias and sums": self.passes,
            "in summands times 0": self.unused,
        }
        words = (
            f"{count / 1e9:.2f} GB ({count / BYTES_A_MS:.2f} ms) {what}" for what, count in parts.items()
        )
        return f"{self.convolutions} convolutions move " + ", ".join(words)


def traffic(network: DeblurNetwork, height: int, width: int) -> Traffic:
    """Counted in the fast form (`engine/rewrite.py`) as `engine/fused.py` does it, without any memory."""
    seen: list[Traffic] = []

    def watching(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
        result = plain(conv, x, plus)
        in_one, out = conv.relu and not conv.transposed, result.numel()
        once = x.numel() + conv.weight.numel() + out + (0 if plus is None else out)
        has_pass = not in_one and (conv.bias is not None or plus is not None or conv.relu)
        seen.append(Traffic(1, 2 * once, 4 * out * has_pass, 2 * out * (in_one and plus is None)))
        return result

    nowhere = rewritten(copy.deepcopy(network).to("meta"), watching).half()
    with torch.inference_mode():
        nowhere.correction(torch.empty(1, 3, height, width, device="meta"))
    return Traffic(
        len(seen), *(sum(getattr(each, part) for each in seen) for part in ("once", "passes", "unused"))
    )


if __name__ == "__main__":
    sys.exit(main())
