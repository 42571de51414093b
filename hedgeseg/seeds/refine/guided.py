"""Guided filter: the locally linear function of the colours that fits the scores best.

Source: He, Sun, Tang, "Guided Image Filtering", 2013, Eq. 19-21 (colour guide). Linear time whatever the radius: the
cheapest refiner, and it only snaps edges, it does not spread regions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hedgeseg.seeds.refine.inputs import check_inputs


@torch.no_grad()
def guided_filter(
    image: Tensor | np.ndarray,
    probabilities: Tensor | np.ndarray,
    radius: int | None = None,
    epsilon: float = 0.02**2,
) -> Tensor:
    """Smooth probabilities along the edges of the picture.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (L, H, W).
        radius: half side of the window in pixels; the long side / 64 without it.
        epsilon: variance (of colours in [0, 1]) below which a window counts as flat.

    Returns:
        float32 (L, H, W), not negative, with the sum over the labels of the input.

    Raises:
        ValueError: inputs that do not fit, radius below 1 or epsilon not positive.
    """
    picture, values = check_inputs(image, probabilities)
    if radius is None:
        radius = max(1, round(max(picture.shape[:2]) / 64))
    if radius < 1 or not epsilon > 0:
        raise ValueError(f"radius must be 1 or more and epsilon positive, got {radius} and {epsilon}")
    # Double precision: covariances of nearly flat windows are differences of nearly equal numbers.
    guide = picture.permute(2, 0, 1).double() / 255
    target = values.double()
    mean_guide, mean_target = _box(guide, radius), _box(target, radius)
    pairs = _box((guide[:, None] * guide[None]).flatten(0, 1), radius).view(3, 3, *guide.shape[1:])
    covariance = pairs - mean_guide[:, None] * mean_guide[None]
    cross = _box((guide[:, None] * target[None]).flatten(0, 1), radius).view(3, *target.shape)
    cross = cross - mean_guide[:, None] * mean_target[None]
    eye = torch.eye(3, dtype=guide.dtype, device=guide.device).view(3, 3, 1, 1)
    inverse = _inverse(covariance + epsilon * eye)
    slope = sum((inverse[:, j, None] * cross[j] for j in range(3)), start=torch.zeros_like(cross))
    offset = mean_target - (slope * mean_guide[:, None]).sum(0)
    slope = _box(slope.flatten(0, 1), radius).view_as(slope)
    filtered = (slope * guide[:, None]).sum(0) + _box(offset, radius)
    # A linear fit overshoots at strong edges; what leaves [0, ..) is cut and the sum over the labels restored.
    filtered = filtered.clamp(min=0)
    total = target.sum(0, keepdim=True)
    return (filtered * (total / filtered.sum(0, keepdim=True).clamp(min=1e-12))).float()


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of symmetric matrices (3, 3, H, W) by cofactors: far cheaper than a solver called once per pixel."""
    rows = [torch.linalg.cross(matrix[(i + 1) % 3], matrix[(i + 2) % 3], dim=0) for i in range(3)]
    determinant = (matrix[0] * rows[0]).sum(0)
    # Cofactors of a symmetric matrix are symmetric, so rows and columns need no exchange.
    return torch.stack(rows) / determinant


def _box(values: Tensor, radius: int) -> Tensor:
    """Mean over the window of (..., H, W) values, over the pixels that exist; the radius does not change its time."""
    for dim in (-2, -1):
        length = values.shape[dim]
        at = torch.arange(length, device=values.device)
        first, last = (at - radius).clamp(min=0), (at + radius + 1).clamp(max=length)
        sums = torch.cat([torch.zeros_like(values.narrow(dim, 0, 1)), values.cumsum(dim)], dim)
        count = (last - first).to(values.dtype)
        total = sums.index_select(dim, last) - sums.index_select(dim, first)
        values = total / (count[:, None] if dim == -2 else count)
    return values
