"""PSNR and SSIM with their definitions; pure functions of two pictures, no files, no torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.generic]


def psnr(a: Picture, b: Picture, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mean squared difference), computed in
    float64.

    The mean goes over all pixels and channels together. Nothing is clamped or rounded here: for the
    `deepdeblur` protocol give uint8 pictures and 255, for the `mimo` protocol a prediction clamped to [0, 1]
    but not rounded, and 1. Equals scikit-image's `peak_signal_noise_ratio`. Equal pictures give infinity.

    Args:
        a: HxWxC or HxW.
        b: the same shape.
        data_range: the distance between black and white; it is never guessed.
    """
    _check(a, b, data_range)
    error = float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))
    return math.inf if error == 0 else 10 * math.log10(data_range**2 / error)


def ssim(a: Picture, b: Picture, data_range: float) -> float:
    """Structural similarity (Wang et al., 2004): Gaussian window of sigma 1.5 (11x11), K 0.01 and 0.03,
    population covariance, mean over all positions whose window lies inside the picture (5 px are lost at each
    border) and over channels.

    Equals scikit-image's `structural_similarity(channel_axis=2, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False)` and DeepDeblur's metric on rounded pictures; scikit-image's default (7x7
    uniform window) gives other values. Integers are filtered as float32, which takes 0.4 of float64's time
    and moves the mean by less than 1e-6.

    Args:
        a: HxWxC or HxW, at least 11 px a side.
        b: the same shape.
        data_range: the distance between black and white; it is never guessed.
    """
    from skimage.metrics import structural_similarity

    _check(a, b, data_range)
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        a, b = a.astype(np.float32), b.astype(np.float32)
    channel_axis = 2 if a.ndim == 3 else None
    value = structural_similarity(  # type: ignore[no-untyped-call]
        a,
        b,
        data_range=data_range,
        channel_axis=channel_axis,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def _check(a: Picture, b: Picture, data_range: float) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    if not data_range > 0:
        raise ValueError(f"data range {data_range}; it must be positive")
