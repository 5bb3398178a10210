"""The figures in docs/engine.md: python scripts/measure_engine.py guard|tiles|precision|cost PATHS...

    guard PAIRS       figures of the guard: true differences, results on blurred and on sharp pictures
    tiles PICTURES    tiled against whole, in 1/255, by overlap
    precision PAIRS   bfloat16 against float32: PSNR and deviation, CPU seconds
    cost              the engine's own milliseconds around the network, 1280x720

PAIRS is a folder <set>/<clip>/{blur,sharp}/*.png, PICTURES are files. `--model NAME` or `--weights FILE`
choose the network (default mimo-unet-tiny). One thread: CPU seconds on a busy machine mean little else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vdeblur.engine import guard, planes, tiles
from vdeblur.engine.corrector import by_tiles
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frame import Component, Frame, PlaneLayout
from vdeblur.models.contract import DeblurNetwork


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["guard", "tiles", "precision", "cost"])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--model", default="mimo-unet-tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--side", type=int, default=256, help="side of the tiles")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    network = load(asked.model, asked.weights)
    {"guard": measure_guard, "tiles": measure_tiles, "precision": measure_precision, "cost": measure_cost}[
        asked.what
    ](network, asked)


def load(model: str, weights: Path | None) -> DeblurNetwork:
    from vdeblur.weights import loading, store
    from vdeblur.weights.containers import sha256

    ref = store.resolve("auto" if weights else model, weights, "cpu")
    network = loading.load_network(ref.path, ensemble=ref.ensemble).network
    network.to(memory_format=torch.channels_last)
    print(f"{ref.name}: {sha256(ref.path)[:12]}")
    return network


def measure_guard(network: DeblurNetwork, asked: argparse.Namespace) -> None:
    rows: dict[str, list[list[float]]] = {
        "sharp - blurred": [],
        "result on blurred": [],
        "result on sharp": [],
    }
    for blurred, sharp in pairs(asked.paths[0]):
        rows["sharp - blurred"].append(guard.figures(sharp - blurred).tolist())
        rows["result on blurred"].append(guard.figures(corrected(network, blurred)).tolist())
        rows["result on sharp"].append(guard.figures(corrected(network, sharp)).tolist())
    print("| difference | pictures | rms, median and max | shift | block rms |\n|---|---|---|---|---|")
    for name, found in rows.items():
        values = np.array(found)
        middle, most = np.median(values, axis=0), values.max(axis=0)
        cells = " | ".join(f"{a:.4f}, {b:.4f}" for a, b in zip(middle, most, strict=True))
        print(f"| {name} | {len(found)} | {cells} |")
    bounds = guard.BOUNDS
    print(f"| bounds | | {bounds.rms} | {bounds.shift} | {bounds.block_rms} |")


def measure_tiles(network: DeblurNetwork, asked: argparse.Namespace) -> None:
    multiple = network.multiple_of
    used = tiles.overlap_for(network.reach, multiple)
    tried = (64, 96, 128, 160, used)
    print(f"overlap in use: {used} px; tiles of {asked.side} px or two overlaps and {multiple} px")
    print("| picture | size | correction, rms | " + " | ".join(f"{o} px" for o in tried) + " |")
    print("|---" * 8 + "|")
    for path in asked.paths:
        rgb = whole_units(picture(path), multiple)
        with torch.inference_mode():
            whole = network.correction(rgb)
            cells = []
            for overlap in tried:
                side = max(asked.side, tiles.least_side(overlap, multiple))
                grid = tiles.cut(*rgb.shape[-2:], side, multiple, overlap)
                error = (by_tiles(network.correction, rgb, grid) - whole).abs() * 255
                cells.append(f"{float(error.max()):.3f} ({float(error.square().mean().sqrt()):.4f})")
        size, correction = f"{rgb.shape[-1]}x{rgb.shape[-2]}", float(whole.square().mean().sqrt()) * 255
        print(f"| {path.name} | {size} | {correction:.2f} | {' | '.join(cells)} |")


def measure_precision(network: DeblurNetwork, asked: argparse.Namespace) -> None:
    rows, seconds = [], np.zeros(2)
    for blurred, sharp in pairs(asked.paths[0]):
        begin = time.process_time()
        exact = corrected(network, blurred)
        middle = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = corrected(network, blurred)
        seconds += middle - begin, time.process_time() - middle
        deviation = (coarse - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        scores = [psnr_db(blurred + change, sharp) for change in (0, exact, coarse)]
        rows.append([*scores, float(deviation), float((coarse - exact).abs().max()) * 255])
    mean, most = np.mean(rows, axis=0), np.max(rows, axis=0)
    print(f"{len(rows)} pairs: blurred {mean[0]:.3f} dB, float32 {mean[1]:.3f} dB, bfloat16 {mean[2]:.3f} dB")
    print(
        f"deviation {mean[3]:.1%} of the correction (most {most[3]:.1%}), at a pixel up to {most[4]:.2f}/255"
    )
    print(
        f"CPU seconds: float32 {seconds[0]:.2f}, bfloat16 {seconds[1]:.2f}: x {seconds[0] / seconds[1]:.2f}"
    )


def measure_cost(network: DeblurNetwork, asked: argparse.Namespace) -> None:
    """The whole lane with a network that costs nothing, and its parts; least and median of 30 laps."""
    width, height = 1280, 720
    layout = PlaneLayout(
        "yuv420p", width, height, "yuv", 8, (2, 2), tuple(map(Component, range(3))), "limited", "bt709"
    )
    rng = np.random.default_rng(0)
    sizes = [(height, width), layout.chroma_size, layout.chroma_size]
    arrays = tuple(rng.integers(16, 236, size, dtype=np.uint8) for size in sizes)
    frame = Frame(arrays, layout, 0, Fraction(1, 25), 1, 0)
    change = torch.randn(1, 3, height, width) * 0.02

    engine = Deblurrer(network, device="cpu", tile="off")
    real = network.correction
    network.correction = lambda rgb: change if rgb.shape == change.shape else real(rgb)  # type: ignore[method-assign]
    lane = engine._open(layout)
    staged = lane._staging.load(frame)
    rgb = planes.to_rgb(staged, layout, out=lane._rgb)
    sums = planes.add_difference(staged, change, layout)
    steps = {
        "whole frame without its network": lambda: lane._one(frame),
        "planes into padded buffers": lambda: lane._staging.load(frame),
        "planes -> RGB": lambda: planes.to_rgb(staged, layout, out=lane._rgb),
        "guard": lambda: guard.is_sound(change),
        "difference -> planes": lambda: planes.add_difference(staged, change, layout),
        "planes out": lambda: lane._staging.store(frame, sums),
    }
    with torch.inference_mode():
        for name, step in steps.items():
            laps = [lap_ms(step) for _ in range(32)][2:]
            print(f"| {name} | {min(laps):.2f} | {np.median(laps):.2f} |")
        for precision in ("float32", "bfloat16"):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                laps = [lap_ms(lambda: real(rgb)) for _ in range(3)]
            print(f"| the network in {precision}, one thread | {min(laps):.0f} | {np.median(laps):.0f} |")


def lap_ms(step: object) -> float:
    begin = time.process_time()
    step()  # type: ignore[operator]
    return (time.process_time() - begin) * 1000


def pairs(folder: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Blurred and sharp, (1, 3, height, width) float32."""
    found = sorted(folder.glob("*/*/blur/*.png"))
    if not found:
        raise SystemExit(f"{folder}: no <set>/<clip>/blur/*.png there")
    for path in found:
        yield picture(path), picture(path.parents[1] / "sharp" / path.name)


def picture(path: Path) -> Tensor:
    values = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


def whole_units(rgb: Tensor, multiple: int) -> Tensor:
    """The picture without the last rows and columns that make no whole unit."""
    height, width = (side // multiple * multiple for side in rgb.shape[-2:])
    return rgb[..., :height, :width].contiguous(memory_format=torch.channels_last)


def corrected(network: DeblurNetwork, rgb: Tensor) -> Tensor:
    height, width = rgb.shape[-2:]
    multiple = network.multiple_of
    padded = F.pad(rgb, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    with torch.inference_mode():
        return network.correction(padded.contiguous(memory_format=torch.channels_last)).float()[
            ..., :height, :width
        ]


def psnr_db(result: Tensor, sharp: Tensor) -> float:
    """Data range 1, clipped, over all channels."""
    return float(-10 * torch.log10((result.clamp(0, 1) - sharp).square().mean()))


if __name__ == "__main__":
    main()
