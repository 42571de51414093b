"""How alike two maps are: the arithmetic behind drift between epochs and discrimination between classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

GRID = 56


def pooled(relevance: Tensor, grid: int = GRID) -> Tensor:
    """Average-pool maps `(T, H, W)` to at most `(T, grid, grid)`.

    Drift should tell whether the network looks elsewhere, not whether single pixels of a spiky map changed places.
    """
    height, width = relevance.shape[-2:]
    return adaptive_avg_pool2d(relevance, (min(height, grid), min(width, grid)))


def ranks(values: Tensor) -> Tensor:
    """Ranks of a vector `(n,)` from 0, float64; equal values share the mean of their ranks."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() + 1) / 2)[inverse]


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps of one shape, in [-1, 1]; NaN if one of them is constant.

    Raises:
        ValueError: maps of different sizes.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"rank correlation needs maps of one shape, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    centred = [ranks(m.flatten()) for m in (first, second)]
    centred = [r - r.mean() for r in centred]
    norm = centred[0].norm() * centred[1].norm()
    return float(centred[0] @ centred[1] / norm) if norm > 0 else float("nan")


def class_discrimination(maps: Tensor) -> float:
    """How differently the classes of one image are explained: 1 minus the mean Spearman correlation over pairs of maps.

    0 means the same map whichever class is asked for, 1 unrelated maps, 2 opposite ones.

    Args:
        maps: `(T, H, W)` signed maps of the T classes of one image.

    Returns:
        A number in [0, 2]; NaN for fewer than two maps.
    """
    pairs = [spearman(maps[i], maps[j]) for i in range(len(maps)) for j in range(i)]
    return 1 - float(torch.tensor(pairs, dtype=torch.float64).nanmean()) if pairs else float("nan")
