"""PSNR and SSIM against hand-computed values, and against both papers' protocols where the check files
are.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from vdeblur.metrics import psnr, ssim

SHARED = Path(__file__).resolve().parents[2] / "shared"


def test_psnr_of_a_constant_difference() -> None:
    a = np.full((4, 5, 3), 100, np.uint8)
    assert psnr(a, a + 10, 255) == pytest.approx(20 * math.log10(25.5), abs=1e-12)
    assert psnr(a / 255, (a + 10) / 255, 1) == pytest.approx(20 * math.log10(25.5), abs=1e-9)


def test_equal_pictures() -> None:
    a = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert psnr(a, a, 255) == math.inf
    assert ssim(a, a, 255) == pytest.approx(1.0)


def test_differences_of_unsigned_pictures_do_not_wrap_round() -> None:
    dark, bright = np.zeros((12, 12, 3), np.uint8), np.full((12, 12, 3), 255, np.uint8)
    assert psnr(dark, bright, 255) == psnr(bright, dark, 255) == pytest.approx(0.0)


def test_shapes_and_data_range_are_never_guessed() -> None:
    a = np.zeros((12, 12, 3), np.uint8)
    with pytest.raises(ValueError, match="shapes"):
        psnr(a, a[:, :6], 255)
    with pytest.raises(ValueError, match="data range"):
        ssim(a, a, 0)


@pytest.mark.shared
@pytest.mark.skipif(
    not (SHARED / "checkpoints" / "metrics.npz").exists(), reason=f"no check files at {SHARED}"
)
def test_both_protocols_give_the_reference_values() -> None:
    f = np.load(SHARED / "checkpoints" / "metrics.npz")
    for case in f["cases"]:
        rounded, target = f[f"{case}_quantised"], f[f"{case}_target"]
        clamped = np.clip(f[f"{case}_prediction"], 0, 1)
        assert psnr(rounded, target, 255) == pytest.approx(float(f[f"{case}_dd_psnr"]), abs=1e-4)
        assert psnr(rounded, target, 255) == pytest.approx(float(f[f"{case}_sk_psnr_uint8"]), abs=1e-6)
        assert ssim(rounded, target, 255) == pytest.approx(float(f[f"{case}_dd_ssim"]), abs=1e-5)
        assert ssim(rounded, target, 255) == pytest.approx(float(f[f"{case}_sk_ssim_uint8"]), abs=1e-6)
        light = target.astype(np.float32) / 255
        assert psnr(clamped, light, 1) == pytest.approx(float(f[f"{case}_mimo_psnr_clamped"]), abs=1e-4)
        assert ssim(clamped, light, 1) == pytest.approx(float(f[f"{case}_sk_ssim_float"]), abs=1e-5)
