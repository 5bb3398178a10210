"""A network in torch on its device: RGB in, difference out, in the chosen precision and in float32.

Everything around the network is float32 on the device, whatever the network's precision.  The backend of
eager torch and of CUDA (`lane.Backend`); frames are the lanes' business (`eager.py`, `cuda.py`).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vdeblur.engine import footprint, guard, shortage, tiles
from vdeblur.engine.device import Choice, cpu_threads
from vdeblur.engine.lane import TRIAL_PX, Lane, Pixels, quickest_s
from vdeblur.errors import VdeblurError
from vdeblur.frame import Fate, PlaneLayout
from vdeblur.models.contract import DeblurNetwork

TRIAL_PX_CUDA = 1024
"""On a GPU: a small one says how long it takes to ask, not to compute."""
DEVIATION = 0.1
"""Greatest rms between a fast path and float32, as a share of the correction; bfloat16 has 0.02 to 0.04."""
UNSEEN = 0.2 / 255
"""A deviation (rms) below this counts as none, however small the difference itself is."""


class Corrector:
    """A network on its device: RGB in, difference out.

    Pictures are (1, 3, rows, columns) float32 in [0, 1] on the device, sides multiples of `multiple_of`.
    The network runs on all threads, everything around it on one (`calm`). Before the first picture
    `warm_up` must have been called.
    """

    def __init__(self, network: DeblurNetwork, choice: Choice) -> None:
        self.choice = choice
        self.notes: list[str] = []
        self.device = torch.device(choice.device)
        self.multiple_of, self.reach = network.multiple_of, network.reach
        self.bytes_around = 0.0  # a few pictures: little beside the network
        network.eval().to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.network = network
        self._half = copy.deepcopy(network).half() if choice.precision == "fp16" else None
        self._threads = cpu_threads()

    @property
    def threads(self) -> int | None:
        return self._threads if self.choice.kind == "cpu" else None

    def open_lane(
        self, layout: PlaneLayout, grid: tiles.Grid, strength: float, *, latency: bool = False
    ) -> Lane:
        if self.choice.backend == "cuda":
            from vdeblur.engine.cuda import CudaLane

            return CudaLane(self, layout, grid, strength, latency=latency)
        from vdeblur.engine.eager import EagerLane

        return EagerLane(self, layout, grid, strength)

    def bytes_per_px(self) -> float:
        needed = footprint.bytes_per_px(self.network, self.device)
        return needed * (1.0 if self.choice.precision == "fp32" else 0.7)

    def smaller(self, grid: tiles.Grid) -> tiles.Grid:
        """`cut`, with a note."""
        smaller = self.cut(grid)
        self.notes.append(shortage.note(smaller))
        return smaller

    def cut(self, grid: tiles.Grid) -> tiles.Grid:
        """After memory ran out: the next smaller tiles; VdeblurError where there are none."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return shortage.smaller(grid, self.multiple_of, self.reach, self.choice.name)

    def warm_up(self) -> float:
        """A few laps on a small picture; answers with the seconds for a pixel in the fastest one.

        The chosen precision is compared with float32 there, and not used if it deviates too far.  Where
        memory runs out at once, a smaller picture is tried; VdeblurError if that is of no use.
        """
        first_px = TRIAL_PX_CUDA if self.device.type == "cuda" else TRIAL_PX
        for trial_px in (first_px, first_px // 2, first_px // 4):
            try:
                return self._laps(trial_px)
            except Exception as error:
                if not shortage.ran_out(error):
                    raise
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        raise VdeblurError(
            f"out of memory on {self.choice.name} before the first picture: use a smaller network (--model) "
            "or close other programs"
        )

    def _laps(self, trial_px: int) -> float:
        side = -(-trial_px // self.multiple_of) * self.multiple_of
        trial = trial_picture(side).to(self.device)
        grid = tiles.whole(side, side)
        found: list[Tensor] = []
        s_per_px = quickest_s(lambda: found.append(self.fast(trial, grid).cpu())) / side**2
        if self.choice.precision == "fp32":
            return s_per_px
        fast, careful = found[-1], self.careful(trial, grid).cpu()
        deviation, size = (float(each.square().mean().sqrt()) for each in (fast - careful, careful))
        if not math.isfinite(size) or deviation <= max(DEVIATION * size, UNSEEN):
            return s_per_px
        self.notes.append(
            f"{self.choice.precision} deviates by {deviation / max(size, 1e-9):.0%} of the correction "
            "with this network: running in float32"
        )
        self.use_float32()
        return self._laps(trial_px)

    def use_float32(self) -> None:
        """From here on: nothing faster holds."""
        self.choice = dataclasses.replace(self.choice, precision="fp32")
        self._half = None

    def fast(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The network's difference in the chosen precision, as float32."""
        with torch.inference_mode(), calm():
            return by_tiles(self._in_precision, rgb, grid)

    def careful(self, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        """The network's difference, float32 throughout."""
        with torch.inference_mode(), calm():
            return by_tiles(lambda tile: self._run(self.network, tile), rgb, grid)

    def difference(self, rgb: Pixels, grid: tiles.Grid, height: int, width: int) -> Pixels | None:
        tensor = torch.from_numpy(rgb.transpose(2, 0, 1)[None]).to(self.device)
        found, _ = self.judged(tensor, grid, height, width)
        return None if found is None else found[0].permute(1, 2, 0).cpu().numpy()

    def judged(self, rgb: Tensor, grid: tiles.Grid, height: int, width: int) -> tuple[Tensor | None, Fate]:
        """The difference at the picture's own size, and what the guard made of it (None: refused)."""
        difference = self.fast(rgb, grid)[..., :height, :width]
        if guard.is_sound(difference):
            return difference, Fate.DEBLURRED
        if self.choice.precision != "fp32":
            difference = self.careful(rgb, grid)[..., :height, :width]
            if guard.is_sound(difference):
                return difference, Fate.REDONE
        return None, Fate.REFUSED

    def _in_precision(self, rgb: Tensor) -> Tensor:
        if self._half is not None:
            return self._run(self._half, rgb.half())
        if self.choice.precision == "bf16":
            # Only products are bfloat16; rounding the input too would cost four times the error.
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return self._run(self.network, rgb)
        return self._run(self.network, rgb)

    def _run(self, network: DeblurNetwork, rgb: Tensor) -> Tensor:
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        # float32 means float32: a GPU would else round the factors of its convolutions to 11 bits (TF32).
        with calm(self._threads), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            difference = network.correction(rgb)
        return difference.to(torch.float32, memory_format=torch.contiguous_format)


def trial_picture(side: int) -> Tensor:
    """Coloured squares with blurred edges (1, 3, side, side): something that asks for a correction."""
    cells = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    squares = torch.nn.functional.interpolate(cells, size=(side, side), mode="nearest")
    return torch.nn.functional.avg_pool2d(squares, (1, 9), stride=1, padding=(0, 4), count_include_pad=False)


Piece = tuple[int, int, Tensor]


def pieces_on(grid: tiles.Grid, device: torch.device) -> Iterator[Piece]:
    """`tiles.pieces`, the weights as tensors on a device."""
    for top, left, weights in tiles.pieces(grid):
        yield top, left, torch.from_numpy(weights).to(device)


def by_tiles(
    correct: Callable[[Tensor], Tensor],
    rgb: Tensor,
    grid: tiles.Grid,
    pieces: Iterable[Piece] | None = None,
) -> Tensor:
    """`correct` applied to a picture (N, 3, height, width) tile by tile, blended; `pieces` where kept."""
    if grid.is_whole:
        return correct(rgb)
    height, width = grid.tile
    total = torch.zeros_like(rgb)
    for top, left, weights in pieces_on(grid, rgb.device) if pieces is None else pieces:
        place = (..., slice(top, top + height), slice(left, left + width))
        tile = rgb[place].contiguous(memory_format=torch.channels_last)
        total[place] += correct(tile) * weights
    return total


@contextmanager
def calm(threads: int = 1) -> Iterator[None]:
    """So many threads for torch's operations inside; one by default, for small operations.

    With several, a small operation waits for a core that another process holds: 8 to 90 ms each.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
