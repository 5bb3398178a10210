"""The training loss of the MIMO-UNet paper's code, computed in float32 whatever the network ran in."""

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
    modulus, the half spectrum and the orthonormal form are other losses with other weights. The transform is linear,
    so one of the difference does.
    """
    parts = [
        torch.view_as_real(torch.fft.fft2(r.float() - t.float())).abs().mean()
        for r, t in zip(results, targets, strict=True)
    ]
    return torch.stack(parts).sum()


def mimo_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Content loss + 0.1 x FFT loss."""
    return content_loss(results, targets) + FFT_WEIGHT * fft_loss(results, targets)


def decibel_loss(results: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum over the scales of the mean over pictures of log mean squared error: what PSNR measures, up to a factor."""
    parts = []
    for r, t in zip(results, targets, strict=True):
        error = (r.float() - t.float()).square().mean(dim=(1, 2, 3))
        parts.append(torch.log(error + 1e-5).mean())
    return torch.stack(parts).sum()
