"""Ways to compute a network on a GPU, and whether one says what plain float32 says.

The fast ways come first. Each is compared with float32 on two pictures, one made up and the first frame, and
used only if it keeps the bounds below.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vdeblur import colour
from vdeblur.engine.corrector import DEVIATION, UNSEEN, trial_picture
from vdeblur.engine.device import Precision
from vdeblur.engine.fused import Fused
from vdeblur.engine.rewrite import FAMILIES, Compute, Conv, plain, rewritten
from vdeblur.engine.staging import Staging
from vdeblur.engine.station import Correct
from vdeblur.models.contract import DeblurNetwork

CODES = 2.0
"""Of 1000 values of a difference 999 deviate by at most so many codes of 255."""
TRIED = 10
"""Kernels of cuDNN that are timed for a shape, as torch has it; 0: all there are; None: its own choice."""
SEARCH_S = 20.0
"""For all shapes of a network: cuDNN builds, and often compiles, every kernel it knows before ten are timed.
The largest shapes come first; those that are left take its own choice. No limit where all kernels are tried.
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way: what a note calls it, the precision of its convolutions, and what makes it."""

    name: str
    precision: Precision
    make: Callable[[], Correct]


def ways_of(network: DeblurNetwork, precision: Precision, tried: int | None = TRIED) -> Iterator[Way]:
    """From what was asked for down to float32; the network is copied, not changed."""
    make = partial(_computing, network, tried)
    if precision == "fp16":
        yield Way("float16 with fused convolutions", "fp16", lambda: make(Fused(), half=True))
        yield Way("float16", "fp16", lambda: make(half=True))
    if precision == "bf16":
        yield Way("bfloat16", "bf16", lambda: make(autocast=True))
    yield Way("float32", "fp32", make)


def fault(found: Tensor, careful: Tensor) -> str | None:
    """What is wrong with a difference beside that of float32 (both (N, 3, height, width)), or None."""
    off = (found - careful).abs()
    size = float(careful.square().mean().sqrt())
    deviation = float(off.square().mean().sqrt())
    if not deviation <= max(DEVIATION * size, UNSEEN):  # also where it is not a number
        return f"it deviates from float32 by {deviation / max(size, 1e-9):.0%} of the correction"
    flat = off.flatten()
    worst = float(flat.kthvalue(max(1, round(0.999 * flat.numel()))).values) * 255
    return None if worst <= CODES else f"single pixels deviate from float32 by {worst:.1f} of 255"


def load_trial(staging: Staging) -> None:
    """Coloured squares with blurred edges as stored components: a picture that asks for a correction."""
    layout = staging.layout
    picture = trial_picture(max(staging.size))
    for number, part in enumerate(staging.parts):
        luma = layout.kind != "yuv" or number == 0
        codes = (colour.luma_codes if luma else colour.chroma_codes)(layout.depth, layout.range)
        rows, columns = part.shape[1:]
        values = picture[0, number, :rows, :columns]
        stored = codes.zero + codes.unit * (values if luma else 0.3 * (values - 0.5))
        part[:] = (stored.round().to(torch.int32) << layout.lsb).to(part.dtype)


def _computing(
    network: DeblurNetwork,
    tried: int | None,
    compute: Compute = plain,
    *,
    half: bool = False,
    autocast: bool = False,
) -> Correct:
    """The network's fast form as a function of float32 RGB."""
    until_s = time.monotonic() + SEARCH_S if tried else math.inf

    def in_time(conv: Conv, x: Tensor, plus: Tensor | None) -> Tensor:
        if time.monotonic() > until_s:
            torch.backends.cudnn.benchmark = False  # until `correct` is left; what was found stays
        return compute(conv, x, plus)

    fast = copy.deepcopy(rewritten(network, in_time)).eval()
    lays_out = fast.family in FAMILIES  # the picture, itself; what it does before that is for planes
    if half:
        fast.half()

    def correct(rgb: Tensor) -> Tensor:
        if not lays_out:
            rgb = rgb.to(torch.half if half else rgb.dtype, memory_format=torch.channels_last)
        with (
            # Kernels are chosen by trial, once for a shape. float32 means float32: no TF32 for its factors.
            torch.backends.cudnn.flags(
                enabled=True, benchmark=tried is not None, benchmark_limit=tried or 0, allow_tf32=False
            ),
            torch.autocast(rgb.device.type, dtype=torch.bfloat16, enabled=autocast, cache_enabled=False),
        ):
            difference = fast.correction(rgb)
        return difference.to(torch.float32, memory_format=torch.contiguous_format)

    return correct
