"""Tiles cover every pixel with weights that sum to one, and give the whole picture's result."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine import standins
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vdeblur.engine import tiles
from vdeblur.engine.corrector import by_tiles
from vdeblur.engine.footprint import bytes_per_px
from vdeblur.errors import InputError

SHIPPED = Path(__file__).parents[2] / "vdeblur" / "weights"


@settings(max_examples=200, deadline=None)
@given(
    multiple=st.sampled_from([1, 4, 8]),
    units=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    side=st.integers(1, 30),
    overlap=st.integers(0, 8),
)
def test_every_pixel_is_covered_on_the_networks_grid(
    multiple: int, units: tuple[int, int], side: int, overlap: int
) -> None:
    height, width = units[0] * multiple, units[1] * multiple
    side, overlap = side * multiple, overlap * multiple
    if side < tiles.least_side(overlap, multiple):
        with pytest.raises(InputError, match=r"^--tile "):
            tiles.cut(height, width, side, multiple, overlap)
        return
    grid = tiles.cut(height, width, side, multiple, overlap)
    for size, tile, starts in ((height, grid.tile[0], grid.rows), (width, grid.tile[1], grid.columns)):
        assert tile == min(side, size)
        assert starts[0] == 0
        assert starts[-1] == size - tile
        assert all(start % multiple == 0 for start in starts)
        assert all(b - a <= tile - overlap for a, b in itertools.pairwise(starts))
        total = torch.zeros(size)
        for start, weights in zip(starts, tiles.windows(size, tile, overlap, starts), strict=True):
            assert weights.min() >= 0
            total[start : start + tile] += torch.from_numpy(weights)
        assert torch.allclose(total, torch.ones(size), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    reach=st.integers(0, 12),
    multiple=st.sampled_from([1, 4, 8]),
    units=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    more=st.integers(0, 5),
)
def test_a_network_of_short_reach_is_tiled_exactly(
    reach: int, multiple: int, units: tuple[int, int], more: int
) -> None:
    network = standins.BoxFilter(reach, multiple)
    overlap = tiles.overlap_for(reach, multiple)
    picture = torch.rand((1, 3, units[0] * multiple, units[1] * multiple))
    side = tiles.least_side(overlap, multiple) + more * multiple
    grid = tiles.cut(*picture.shape[-2:], side, multiple, overlap)
    found = by_tiles(network.correction, picture, grid)
    assert torch.allclose(found, network.correction(picture), atol=2e-6)


def test_auto_takes_the_whole_picture_where_memory_allows() -> None:
    plenty, short, nothing = (
        tiles.fit(2160, 3840, 8, 104, 1000.0, free) for free in (64 << 30, 4 << 30, 1 << 20)
    )
    assert plenty.is_whole
    assert short.tile == (1024, 1024)
    assert nothing.tile == (256, 256)
    small = tiles.fit(180, 320, 8, 104, 1000.0, 1 << 20)  # a side shorter than a tile
    assert small.tile == (180, 256)


def test_auto_does_not_cut_where_tiles_take_more_than_the_whole() -> None:
    asked = (720, 1280, 8, 104)
    assert tiles.fit(*asked, 100.0, 100 << 20).tile == (512, 512)
    assert tiles.fit(*asked, 100.0, 100 << 20, 100.0).tile == (256, 256)  # less room for a tile
    assert tiles.fit(*asked, 100.0, 100 << 20, 200.0).is_whole


def test_memory_is_measured_on_the_network_itself() -> None:
    """A box filter needs the filtered picture and the difference: 2 x 3 channels x 4 bytes."""
    assert bytes_per_px(standins.BoxFilter(), torch.device("cpu")) == 24.0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["mimo-unet-tiny", "mimo-unet-small"])
def test_trained_networks_tiled_equal_the_whole_picture(shared: Path, name: str) -> None:
    """Within 1 of 255 at the overlap in use, for the smallest tiles; the picture is mirrored at its edges to
    be cut both ways.
    """
    from vdeblur.weights.loading import load_network

    path = SHIPPED / f"{name}.safetensors"
    network = load_network(path).network
    picture = np.asarray(Image.open(shared / "pairs/gopro/facade/blur/00000000.png").convert("RGB"))
    mirrored = np.pad(picture, ((0, 280), (0, 0), (0, 0)), mode="reflect")
    rgb = torch.from_numpy(mirrored).permute(2, 0, 1)[None].float() / 255
    overlap = tiles.overlap_for(network.reach, 8)
    grid = tiles.cut(*rgb.shape[-2:], tiles.least_side(overlap, 8), 8, overlap)
    with torch.inference_mode():
        error = (by_tiles(network.correction, rgb, grid) - network.correction(rgb)).abs()
    assert len(grid.rows) * len(grid.columns) >= 4
    assert float(error.max()) < 1 / 255


FOUR_K = """
import resource, sys
sys.path.insert(0, {tests!r})
import torch
from fractions import Fraction
from engine.pictures import empty_planes, layout
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frame import Fate, Frame
from vdeblur.models.mimo_unet import MimoUNet

network = MimoUNet()
correction, sizes = network.correction, []

def counted(rgb):  # all tiles have one size: the first shows the peak, the others would only take time
    sizes.append(tuple(rgb.shape[-2:]))
    return correction(rgb) if sizes.count((512, 512)) == 1 else torch.zeros_like(rgb)

network.correction = counted
lay = layout("yuv420p", 3840, 2160)
frame = Frame(tuple(empty_planes(lay)), lay, 0, Fraction(1, 25), 1, 0)
(result,) = Deblurrer(network, device="cpu", precision="fp32", tile=512).deblur([frame])
cut = [size for size in sizes if size != (256, 256)]  # without the warm-up laps
assert result.fate == Fate.DEBLURRED and set(cut) == {{(512, 512)}}, (result.fate, set(sizes))
print(len(cut), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_4k_frame_in_tiles_stays_under_3_gb() -> None:
    """`mimo-unet` (32 channels, 8 blocks) in float32, in a fresh process: ru_maxrss of a child is its own."""
    code = FOUR_K.format(tests=str(Path(__file__).parents[1]))
    # Started by way of a shell: a child forked from a large process would inherit its maximum.
    run = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1"', sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.returncode == 0, run.stderr
    tiles_run, peak_kib = map(int, run.stdout.split())
    assert tiles_run >= 40
    assert peak_kib < 3_000_000_000 / 1024
