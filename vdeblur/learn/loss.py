"""Training losses: those of the two papers' code, and two that count every pair the same.

All are computed in float32 whatever the network ran in, on pictures in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FFT_WEIGHT = 0.1


def content_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum over the scales of the mean absolute error."""
    parts = [(r.float() - t.float()).abs().mean() for r, t in zip(results, targets, strict=True)]
    return torch.stack(parts).sum()


def fft_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum over the scales of the mean absolute error of the spectra.

    Real and imaginary parts count as separate elements of the unnormalised, two-sided 2-D transform; the mean
    modulus, the half spectrum and the orthonormal form are other losses with other weights. The transform is
    linear, so one of the difference does.
    """
    parts = [
        torch.view_as_real(torch.fft.fft2(r.float() - t.float())).abs().mean()
        for r, t in zip(results, targets, strict=True)
    ]
    return torch.stack(parts).sum()


def mimo_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Content loss + 0.1 x FFT loss."""
    return content_loss(results, targets) + FFT_WEIGHT * fft_loss(results, targets)


def relative_loss(results: Sequence[Tensor], targets: Sequence[Tensor], blurred: Sequence[Tensor]) -> Tensor:
    """The MIMO loss of each picture over that of its blurred input, so that every pair counts the same.

    PSNR is a ratio too: under the plain loss the few pairs with the longest blur outweigh all others. A floor
    of about two levels keeps sharp pairs from doing so here.

    Args:
        results: the network's pictures, full size first.
        targets: the sharp pictures of the same sizes.
        blurred: the input at the same sizes.
    """
    parts = []
    for r, t, b in zip(results, targets, blurred, strict=True):
        floor = 2 / 255 * (1 + 0.1 * 0.7 * (r.shape[-2] * r.shape[-1]) ** 0.5)
        parts.append((_each(r.float() - t.float()) / (_each(b.float() - t.float()) + floor)).mean())
    return torch.stack(parts).sum()


def energy_loss(results: Sequence[Tensor], targets: Sequence[Tensor], blurred: Sequence[Tensor]) -> Tensor:
    """The squared error that is left of each picture, as a share of its blurred input's: what PSNR measures.

    Absolute errors ask for the median, which is "no change" wherever a network is unsure; squared errors ask
    for the mean. Every pair counts the same, with a floor of two levels for sharp ones.

    Args: as for `relative_loss`.
    """
    parts = []
    for r, t, b in zip(results, targets, blurred, strict=True):
        left = (r.float() - t.float()).square().mean(dim=(1, 2, 3))
        before = (b.float() - t.float()).square().mean(dim=(1, 2, 3))
        parts.append((left / (before + (2 / 255) ** 2)).mean())
    return torch.stack(parts).sum()


def l1_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The content loss of DeepDeblur-PyTorch: sum over the scales of the mean absolute error in 1/255."""
    return 255 * content_loss(results, targets)


def mse_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The content loss of DeepDeblur_release: sum over the scales of the mean squared error in [0, 1]."""
    parts = [(r.float() - t.float()).square().mean() for r, t in zip(results, targets, strict=True)]
    return torch.stack(parts).sum()


def _each(difference: Tensor) -> Tensor:
    """The MIMO loss of one scale for each picture of a batch."""
    spectrum = torch.view_as_real(torch.fft.fft2(difference))
    return difference.abs().mean(dim=(1, 2, 3)) + FFT_WEIGHT * spectrum.abs().mean(dim=(1, 2, 3, 4))
