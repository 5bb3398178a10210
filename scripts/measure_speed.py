"""How much faster networks run on this CPU than in plain torch: the ratios in docs/speed.md.

    python scripts/measure_speed.py ratios        int8 against plain eager float32, 640x360
    python scripts/measure_speed.py sizes         mimo-unet-tiny against mimo-unet-small, int8, 1280x720
    python scripts/measure_speed.py around        the engine's own time around mimo-unet-small, 1280x720

All ways of a table take turns in one process, round by round; the figure is the least time of each, and the
ratio is that of the least times.  The same in CPU seconds: with one thread (`taskset -c 0`) those are right
on a busy machine too.  "Plain eager" is the network as a torch module in float32, contiguous.
`mimo-unet` runs with random weights in the published sizes: time does not depend on their values.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vdeblur.engine import openvino_int8
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.device import choose, cpu_threads
from vdeblur.engine.openvino import Bodies, OpenVinoBackend, bodies_of
from vdeblur.frame import Component, Frame, PlaneLayout
from vdeblur.models.mimo_unet import MimoUNet
from vdeblur.weights import places
from vdeblur.weights.architecture import Architecture
from vdeblur.weights.arrays import Weights
from vdeblur.weights.loading import load_network

Way = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["ratios", "sizes", "around"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["mimo-unet-tiny", "mimo-unet-small", "mimo-unet"])
    asked = parser.parse_args()
    print(f"{choose('cpu', 'auto', 'auto').name}, {cpu_threads()} threads, torch {torch.__version__}")
    torch.set_num_threads(cpu_threads())
    {"ratios": ratios, "sizes": sizes, "around": around}[asked.what](asked)


def ratios(asked: argparse.Namespace) -> None:
    frame = noise(640, 360)
    for name in asked.models:
        network, backends = opened(name)
        lanes: dict[str, Way] = {precision: files(b, frame) for precision, b in backends.items()}
        rgb = torch.rand(1, 3, 360, 640)
        eager: Way = lambda network=network, rgb=rgb: network.correction(rgb)  # noqa: E731
        with torch.inference_mode():
            table(name, {"plain eager float32": eager, **lanes}, asked.rounds)


def sizes(asked: argparse.Namespace) -> None:
    frame = noise(1280, 720)
    ways: dict[str, Way] = {}
    for name in ("mimo-unet-small", "mimo-unet-tiny"):
        engine = Deblurrer.load(name, device="cpu", precision="int8")
        ways[name] = lambda engine=engine: list(engine.deblur([frame] * FRAMES))
        ways[name]()
    table("int8, 1280x720, planes to planes", ways, asked.rounds)


def around(asked: argparse.Namespace) -> None:
    """The lane against the body alone, which gets its picture as the network wants it."""
    import openvino as ov

    frame = noise(1280, 720)
    engine = Deblurrer.load("mimo-unet-small", device="cpu", precision="int8", latency=True)
    lane = engine._open(frame.layout)
    backend: Any = engine._backend
    body = backend._bodies.fast()
    body.reshape([1, 12, 360, 640])
    compiled = backend._compiled(body, "int8")
    request = compiled.create_infer_request()
    picture = np.random.default_rng(0).random((1, 12, 360, 640), np.float32)
    request.set_input_tensor(ov.Tensor(picture, shared_memory=True))
    ways: dict[str, Way] = {
        "the network alone": request.infer,
        "the whole frame": lambda: list(lane.deblur([frame])),
    }
    least = table("mimo-unet-small, int8, 1280x720", ways, asked.rounds)
    alone, whole = least.values()
    print(f"\naround the network: {(whole - alone) * 1000:.1f} ms, {whole / alone - 1:.1%} of it")


FRAMES = 4
"""Frames of one lap through a lane with several in flight."""


def opened(name: str) -> tuple[MimoUNet, dict[str, OpenVinoBackend]]:
    """The network in torch, and OpenVINO's ways of it."""
    if name in places.shipped():
        network: Any = load_network(places.shipped()[name]).network
        engines = {p: Deblurrer.load(name, device="cpu", backend="openvino", precision=p) for p in WAYS}
        return network.eval(), {p: engine._backend for p, engine in engines.items()}  # type: ignore[misc]
    torch.manual_seed(0)
    network = MimoUNet().eval().requires_grad_(False)
    weights = weights_of(network)
    rng = np.random.default_rng(0)
    body = openvino_int8.quantised_body(weights, [rng.integers(0, 256, (128, 128, 3), np.uint8)] * 2)
    plain = bodies_of(weights, None)
    bodies = dict.fromkeys(WAYS, plain) | {
        "int8": Bodies(plain.multiple_of, plain.reach, plain.careful, body.clone)
    }
    return network, {p: OpenVinoBackend(bodies[p], choose("cpu", p, "openvino")) for p in WAYS}


WAYS = ("fp32", "bf16", "int8")


def weights_of(network: MimoUNet) -> Weights:
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    architecture = Architecture("mimo-unet", network.channels, network.blocks, network.stem)
    return Weights(arrays, architecture, False, Path("made.safetensors"), "0" * 64)


def files(backend: OpenVinoBackend, frame: Frame) -> Way:
    """Frames from planes to planes, as a file's go."""
    from vdeblur.engine import tiles

    grid = tiles.whole(frame.layout.height, frame.layout.width)
    lane = backend.open_lane(frame.layout, grid, 1.0)
    return lambda: list(lane.deblur([frame] * FRAMES))


def table(title: str, ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Times and ratios; answers with the least seconds for a frame."""
    laps: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin, before = time.perf_counter(), time.process_time()
            result = way()
            count = len(result) if isinstance(result, list) else 1
            if number:  # the first lap makes what later ones reuse
                laps[name].append((time.perf_counter() - begin) / count)
                spent[name].append((time.process_time() - before) / count)
    least = {name: min(found) for name, found in laps.items()}
    cpu = {name: min(found) for name, found in spent.items()}
    first, first_cpu = next(iter(least.values())), next(iter(cpu.values()))
    print(f"\n{title}, {rounds} rounds\n")
    print("| way | least | median | frames/s | x | CPU seconds | x |\n|---|---|---|---|---|---|---|")
    for name, found in laps.items():
        print(
            f"| {name} | {least[name] * 1000:.1f} ms | {np.median(found) * 1000:.1f} ms "
            f"| {1 / least[name]:.2f} | {first / least[name]:.2f} "
            f"| {cpu[name]:.4f} | {first_cpu / cpu[name]:.2f} |",
            flush=True,
        )
    return least


def noise(width: int, height: int) -> Frame:
    layout = PlaneLayout(
        "yuv420p", width, height, "yuv", 8, (2, 2), tuple(map(Component, range(3))), "limited", "bt709"
    )
    rng = np.random.default_rng(0)
    sizes = [(height, width), layout.chroma_size, layout.chroma_size]
    return Frame(
        tuple(rng.integers(16, 236, size, dtype=np.uint8) for size in sizes), layout, 0, Fraction(1, 25), 1, 0
    )


if __name__ == "__main__":
    main()
