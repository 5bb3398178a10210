"""The engine with the networks in the package, on real pictures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.pictures import layout, smooth_frame
from PIL import Image

import vdeblur
from vdeblur.engine import guard
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frame import Fate
from vdeblur.metrics import psnr

TINY = "mimo-unet-tiny"


@pytest.fixture(scope="module")
def tiny() -> Deblurrer:
    return Deblurrer.load(TINY, device="cpu", precision="fp32")


def test_a_model_is_loaded_by_name_and_describes_itself(tiny: Deblurrer) -> None:
    described = tiny.describe(layout("yuv420p", 320, 180))
    assert described["model"] == TINY
    assert len(described["weights_sha256"]) == 64
    (result,) = tiny.deblur([smooth_frame(layout("yuv420p", 161, 121))])
    assert result.fate == Fate.DEBLURRED


def test_one_call_deblurs_one_array() -> None:
    picture = np.full((24, 32, 3), 90, np.uint8)
    picture[:, 12:20] = 180
    result = vdeblur.deblur_array(picture, TINY, device="cpu")
    assert (result.shape, result.dtype) == (picture.shape, picture.dtype)
    assert 0 < np.abs(result.astype(int) - picture).max() < 60


def test_a_frame_and_an_array_of_the_same_picture_agree(tiny: Deblurrer) -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(60, 200, (5, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    through_frames = tiny.deblur_array(picture).astype(int)
    unrounded = tiny.deblur_rgb_or_none(picture) * 255
    assert np.abs(through_frames - unrounded.clip(0, 255)).max() <= 0.5 + 1e-3


def test_bfloat16_is_close_to_float32(tiny: Deblurrer) -> None:
    """The deviation of the products, a few per cent of the correction; not of the picture."""
    picture = (smooth_frame(layout("rgb24", 96, 64)).planes[0] // 8 * 8).copy()
    coarse = Deblurrer.load(TINY, device="cpu", precision="bf16")
    source = picture.astype(np.float32) / 255
    exact, fast = tiny.deblur_rgb_or_none(picture) - source, coarse.deblur_rgb_or_none(picture) - source
    assert coarse.describe()["precision"] == "bf16"
    assert np.sqrt(np.mean((fast - exact) ** 2)) < 0.1 * np.sqrt(np.mean(exact**2))


@pytest.mark.shared
def test_real_pictures_gain_and_none_is_refused(shared: Path, tiny: Deblurrer) -> None:
    gains = []
    for path in itertools.islice(sorted((shared / "pairs").glob("*/*/blur/*.png")), 0, None, 7):
        blurred = np.asarray(Image.open(path).convert("RGB"))
        sharp = np.asarray(Image.open(path.parents[1] / "sharp" / path.name).convert("RGB"))
        result = tiny.deblur_array(blurred)
        assert not np.array_equal(result, blurred)
        gains.append(psnr(result, sharp, data_range=255) - psnr(blurred, sharp, data_range=255))
    assert np.mean(gains) > 0


@pytest.mark.shared
def test_the_bounds_of_the_guard_hold_what_deblurring_truly_does(shared: Path) -> None:
    """The true differences of real pairs lie well inside: half of every bound is room."""
    paths = sorted((shared / "pairs").glob("*/*/blur/*.png"))
    assert len(paths) > 30
    for path in paths:
        blurred, sharp = (
            torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None] / 255
            for file in (path, path.parents[1] / "sharp" / path.name)
        )
        rms, shift, block_rms = guard.figures(sharp - blurred).tolist()
        assert rms < guard.BOUNDS.rms / 2
        assert shift < guard.BOUNDS.shift / 2
        assert block_rms < guard.BOUNDS.block_rms / 2
