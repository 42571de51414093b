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
    total = values.sum(0)
    # Where the labels sum to the same everywhere they do so after every step: the last one need not be carried along.
    same = len(values) > 1 and float(total.max() - total.min()) <= 1e-5 * float(total.max())
    carried = values[1:] if same else values
    turns = (torch.empty_like(carried), torch.empty_like(carried))
    for i in range(iterations):
        averaged = turns[i % 2].zero_()
        for weight, shifted in zip(weights, _neighbours(carried, dilations), strict=True):
            averaged.addcmul_(weight, shifted)
        carried = averaged
    if not same:
        return carried
    return torch.cat([(total - carried.sum(0)).clamp(min=0)[None], carried])


def affinity(pixels: Tensor, dilations: Sequence[int]) -> Tensor:
    """Softmax over all neighbours of the contrast in units of the local deviation (Eq. 6-7).

    Args:
        pixels: float (C, H, W) in [0, 1].
        dilations: distances of the neighbours.

    Returns:
        float (8 * len(dilations), H, W), summing to one over the first dimension.
    """
    count = 9 * len(dilations)
    contrast = pixels.new_zeros(8 * len(dilations), *pixels.shape[1:])
    # Channel by channel and neighbour by neighbour, in two buffers that a processor's cache holds.
    difference = torch.empty_like(pixels[0])
    for channel in pixels:
        total, squares = torch.zeros_like(channel), torch.zeros_like(channel)
        # Differences from the centre, not raw values: the sum of squares then loses nothing to cancellation. The centre
        # itself, one sample per dilation, differs by 0.
        for shifted in _neighbours(channel[None], dilations):
            torch.sub(shifted[0], channel, out=difference)
            total += difference
            squares.addcmul_(difference, difference)
        deviation = ((squares - total**2 / count) / (count - 1)).clamp_(min=0).sqrt_()
        weight = 1 / (1e-8 + 0.1 * deviation)
        for row, shifted in zip(contrast, _neighbours(channel[None], dilations), strict=True):
            torch.sub(shifted[0], channel, out=difference)
            row.addcmul_(difference.abs_(), weight, value=-1 / len(pixels))
    return torch.softmax(contrast, dim=0)


def _neighbours(values: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Values (C, H, W) of the eight neighbours at each distance, borders replicated."""
    height, width = values.shape[-2:]
    widest = max(dilations)
    # Replicated once for all: what lies within a smaller distance is what a narrower border would hold.
    padded = F.pad(values[None], (widest,) * 4, mode="replicate")[0]
    for d in dilations:
        for row in (widest - d, widest, widest + d):
            for column in (widest - d, widest, widest + d):
                if (row, column) != (widest, widest):
                    yield padded[:, row : row + height, column : column + width]
