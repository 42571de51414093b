"""Pixel-adaptive mask refinement: diffusion between pixels of similar colour.

Source: Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", 2020, section 4.2. Affinities use
only local colour contrast, need no training, and every step is a convolution-like gather: fast on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.refine.inputs import check_inputs

DILATIONS = (1, 2, 4, 8, 12, 24)


@torch.no_grad()
def pamr(
    image: Tensor | np.ndarray,
    probabilities: Tensor | np.ndarray,
    iterations: int = 10,
    dilations: Sequence[int] = DILATIONS,
) -> Tensor:
    """Refine probabilities by repeated averaging with neighbours of like colour.

    Each step is a convex combination, so values stay in their range and sums over labels stay what they were.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (L, H, W); labels do not influence each other.
        iterations: averaging steps.
        dilations: distances, in pixels, of the eight neighbours looked at.

    Returns:
        float32 (L, H, W) on the probabilities' device.

    Raises:
        ValueError: inputs that do not fit, or a dilation that is not a positive whole number.

    Example:
        >>> picture = torch.zeros(4, 4, 3, dtype=torch.uint8)  # all of one colour, so one spot spreads over all
        >>> spot = torch.zeros(1, 4, 4)
        >>> spot[0, 0, 0] = 1
        >>> bool((pamr(picture, spot, iterations=3, dilations=(1, 2)) > 0).all())
        True
    """
    picture, values = check_inputs(image, probabilities)
    if not dilations or any(int(d) != d or d < 1 for d in dilations):
        raise ValueError(f"dilations must be positive whole numbers, got {tuple(dilations)}")
    pixels = picture.permute(2, 0, 1).float() / 255
    weights = affinity(pixels, dilations)
    for _ in range(iterations):
        averaged = torch.zeros_like(values)
        for weight, shifted in zip(weights, _neighbours(values, dilations), strict=True):
            averaged.addcmul_(weight, shifted)
        values = averaged
    return values


def affinity(pixels: Tensor, dilations: Sequence[int]) -> Tensor:
    """Softmax over all neighbours of the contrast in units of the local deviation (Eq. 6-7).

    Args:
        pixels: float (C, H, W) in [0, 1].
        dilations: distances of the neighbours.

    Returns:
        float (8 * len(dilations), H, W), summing to one over the first dimension.
    """
    scale = 1e-8 + 0.1 * _local_deviation(pixels, dilations)
    contrast = [-((pixels - shifted).abs() / scale).mean(0) for shifted in _neighbours(pixels, dilations)]
    return torch.softmax(torch.stack(contrast), dim=0)


def _local_deviation(pixels: Tensor, dilations: Sequence[int]) -> Tensor:
    """Unbiased standard deviation over the 3x3 neighbourhoods of all dilations; the centre counts once per dilation."""
    count = 9 * len(dilations)
    # Deviations from the centre, not raw values: the sum of squares then loses nothing to cancellation.
    total = torch.zeros_like(pixels)
    squares = torch.zeros_like(pixels)
    for shifted in _neighbours(pixels, dilations):
        difference = shifted - pixels
        total += difference
        squares += difference**2
    variance = (squares - total**2 / count) / (count - 1)
    return variance.clamp(min=0).sqrt()


def _neighbours(values: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Values (C, H, W) of the eight neighbours at each distance, borders replicated."""
    height, width = values.shape[-2:]
    for d in dilations:
        padded = F.pad(values[None], (d, d, d, d), mode="replicate")[0]
        for row in (0, d, 2 * d):
            for column in (0, d, 2 * d):
                if (row, column) != (d, d):
                    yield padded[:, row : row + height, column : column + width]
