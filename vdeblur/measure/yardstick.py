"""What a device can do at most, measured on the spot, and what a network asks of it: two counts of products.

The peak is that of the device's own library: a large half-precision matrix product on a GPU, convolutions on
a CPU in the precision the network runs in. A network that is faster than its peak was measured wrongly.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vdeblur.engine.corrector import calm
from vdeblur.engine.device import cpu_threads

SIDE = 8192  # of the matrices
SHAPES = ((64, 90, 160), (128, 90, 160), (256, 45, 80))  # channels, height, width of the convolutions
PEAK_S = 1.0
"""For each shape: long enough for clocks to rise, and for a lap that nothing else disturbs."""


@dataclass(frozen=True, slots=True)
class Peak:
    """`tflops` (10^12 multiplications and additions a second), and of what."""

    tflops: float
    of: str


def operations(work: Callable[[], object]) -> int:
    """Multiplications and additions (two for each product) that torch really carries out in `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def peak(device: str, precision: str) -> Peak | None:
    """The device's measured peak for networks in that precision; None where nothing is known to measure."""
    if device.startswith("cuda"):
        return _matrix_product(torch.device(device))
    if device == "cpu":
        try:
            return _convolution(precision)
        except (AttributeError, RuntimeError):  # torch is about to drop its convolutions in int8
            if precision != "int8":
                raise
    return None


def _matrix_product(device: torch.device) -> Peak:
    # Ordinary numbers: products of tiny or equal ones take less power, and run faster than any network's.
    a = torch.randn((SIDE, SIDE), device=device, dtype=torch.float16)
    b, out = torch.randn_like(a), torch.empty_like(a)

    def lap() -> None:
        torch.matmul(a, b, out=out)
        torch.cuda.synchronize(device)

    with torch.inference_mode():
        best = _best_s(lap)
    return Peak(2 * SIDE**3 / best / 1e12, f"float16 matrix product {SIDE}x{SIDE}x{SIDE}")


def _convolution(precision: str) -> Peak:
    threads = cpu_threads()
    best = 0.0
    with torch.inference_mode(), calm(threads):
        for channels, height, width in SHAPES:
            x = torch.rand((1, channels, height, width)).contiguous(memory_format=torch.channels_last)
            w = torch.rand((channels, channels, 3, 3)) - 0.5
            count = 2 * 9 * channels**2 * height * width
            best = max(best, count / _best_s(_convolver(x, w, precision)) / 1e12)
    kind = {"int8": "int8", "bf16": "bfloat16"}.get(precision, "float32")
    return Peak(best, f"{kind} 3x3 convolutions, {threads} threads")


def _convolver(x: torch.Tensor, w: torch.Tensor, precision: str) -> Callable[[], object]:
    if precision == "int8":
        operations: Any = torch.ops.quantized
        torch.backends.quantized.engine = (
            "x86" if "x86" in torch.backends.quantized.supported_engines else "qnnpack"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8)
            kernel = torch.quantize_per_tensor(w, 1 / 255, 0, torch.qint8)
            packed = operations.conv2d_prepack(kernel, None, [1, 1], [1, 1], [1, 1], 1)
        return lambda: operations.conv2d(quantised, packed, 0.1, 0)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x, w = x.to(dtype), w.to(dtype).contiguous(memory_format=torch.channels_last)
    return lambda: torch.nn.functional.conv2d(x, w, padding=1)


def _best_s(lap: Callable[[], object]) -> float:
    for _ in range(3):
        lap()
    laps: list[float] = []
    while len(laps) < 5 or sum(laps) < PEAK_S:
        begin = time.perf_counter()
        lap()
        laps.append(time.perf_counter() - begin)
    return min(laps)
