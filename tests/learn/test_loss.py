"""The training loss: by hand on a small case, and against the official values where the check files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vdeblur.learn.loss import content_loss, energy_loss, fft_loss, mimo_loss, relative_loss
from vdeblur.models.mimo_unet import MimoUNet

SHARED = Path(__file__).resolve().parents[3] / "shared"


def test_a_flat_difference_has_one_coefficient() -> None:
    """0.5 everywhere on 4x4: mean 0.5; the spectrum is 8 at zero frequency, real part, of 32 numbers."""
    result, target = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    assert float(content_loss([result], [target])) == pytest.approx(0.5)
    assert float(fft_loss([result], [target])) == pytest.approx(8 / 32)
    assert float(mimo_loss([result], [target])) == pytest.approx(0.5 + 0.1 * 8 / 32)


def test_half_precision_results_are_judged_in_float32() -> None:
    result, target = torch.rand(1, 3, 64, 64).bfloat16(), torch.ones(1, 3, 64, 64)
    assert mimo_loss([result], [target]).dtype == torch.float32


def test_the_relative_loss_counts_every_pair_the_same() -> None:
    random = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 32, 32, generator=random)
    noise = torch.randn(2, 3, 32, 32, generator=random) * torch.tensor([0.05, 0.5]).view(2, 1, 1, 1)
    each = [
        float(
            relative_loss(
                [(target + 0.5 * noise)[i : i + 1]], [target[i : i + 1]], [(target + noise)[i : i + 1]]
            )
        )
        for i in (0, 1)
    ]
    assert each[0] == pytest.approx(each[1], rel=0.2)


@pytest.mark.shared
@pytest.mark.skipif(
    not (SHARED / "checkpoints" / "mimo_loss.npz").exists(), reason=f"no check files at {SHARED}"
)
def test_loss_targets_and_gradients_are_the_official_ones() -> None:
    f = np.load(SHARED / "checkpoints" / "mimo_loss.npz")
    sizes = ("full", "half", "quarter")
    results = [torch.from_numpy(f[f"prediction_{size}"]).requires_grad_() for size in sizes]
    targets = MimoUNet(4, 1).pyramid(torch.from_numpy(f["target_full"]))
    for target, size in zip(targets, sizes, strict=True):
        np.testing.assert_allclose(target.numpy(), f[f"target_{size}"], atol=1e-7)
    assert float(content_loss(results, targets).detach()) == pytest.approx(float(f["content"]), rel=1e-5)
    assert float(fft_loss(results, targets).detach()) == pytest.approx(float(f["fft"]), rel=1e-5)
    total = mimo_loss(results, targets)
    assert float(total.detach()) == pytest.approx(float(f["total"]), rel=1e-5)
    total.backward()  # type: ignore[no-untyped-call]
    for result, size in zip(results, sizes, strict=True):
        assert result.grad is not None
        reference = f[f"grad_{size}"]
        assert np.abs(result.grad.numpy() - reference).max() <= 1e-5 * np.abs(reference).max()


def test_the_energy_loss_is_the_share_of_squared_error_that_is_left() -> None:
    target = torch.zeros(2, 3, 8, 8)
    blurred = target + torch.tensor([0.1, 0.8]).view(2, 1, 1, 1)
    assert float(energy_loss([0.5 * blurred], [target], [blurred])) == pytest.approx(0.25, rel=0.01)
    assert float(energy_loss([target], [target], [target])) == 0
