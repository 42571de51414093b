"""Gaussian smoothing whose width follows the image.

Maps propagated to the input are spiky: neighbouring pixels of one object differ by orders of magnitude. A Gaussian of
one to two percent of the long side turns spikes into regions before a threshold cuts them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

FINEST = 6.0
"""Sigma in pixels that a blur keeps when it works on a smaller copy."""


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur the last two dimensions with a Gaussian, without darkening the border.

    The kernel is cut at four sigma; outside the image nothing is assumed: weights are renormalised over the pixels
    that exist, so a constant map stays constant.

    Args:
        maps: float (..., H, W).
        sigma: standard deviation in pixels; 0 returns the maps unchanged.

    Returns:
        Tensor of the same shape and dtype.

    Raises:
        ValueError: negative or non-finite sigma.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be a number of pixels >= 0, got {sigma}")
    if sigma == 0 or maps.numel() == 0:
        return maps
    if sigma >= 2 * FINEST:
        return _blur_reduced(maps, sigma)
    radius = max(1, math.ceil(4 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, 1, height, width)
    blurred = _convolve(flat, kernel) / _convolve(torch.ones_like(flat[:1]), kernel)
    return blurred.reshape(maps.shape)


def _blur_reduced(maps: Tensor, sigma: float) -> Tensor:
    """Blur a smaller copy: what is this wide holds no detail that the copy lacks, and costs less by sigma squared."""
    factor = math.floor(sigma / FINEST)
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, 1, height, width)
    small = F.interpolate(flat, size=(max(1, height // factor), max(1, width // factor)), mode="area")
    blurred = gaussian_blur(small, sigma / factor)
    return F.interpolate(blurred, size=(height, width), mode="bilinear", align_corners=False).reshape(maps.shape)


def smooth(maps: Tensor, fraction: float) -> Tensor:
    """Blur with a sigma of `fraction` of the long side of the map (0.015 = 1.5 %)."""
    return gaussian_blur(maps, fraction * max(maps.shape[-2:]))


def _convolve(flat: Tensor, kernel: Tensor) -> Tensor:
    radius = kernel.numel() // 2
    rows = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1), padding=(0, radius))
