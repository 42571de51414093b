"""Numbers of one map that tell where its evidence lies, without knowing where the object is.

The shares are of the positive relevance: what speaks against a class says nothing about what the class is seen by.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

GRID = 14
"""Side of the pooled maps that are kept: coarse enough that pixel noise is gone, fine enough to see a corner."""

BORDER = 0.1
"""Width of the border as a share of each side."""

CORNER = 0.25
"""Side of a corner as a share of each side."""

CENTRE = 0.5
"""Side of the central window as a share of each side."""


def pooled_maps(maps: Tensor, grid: int = GRID) -> Tensor:
    """Average-pool signed maps to a small grid and scale each to an absolute sum of 1.

    Args:
        maps: float (T, H, W).
        grid: side of the result; smaller maps keep their own size.

    Returns:
        float (T, min(H, grid), min(W, grid)); a map of zeros stays zero.
    """
    height, width = maps.shape[-2:]
    small = adaptive_avg_pool2d(maps, (min(height, grid), min(width, grid)))
    mass = small.abs().sum((1, 2), keepdim=True)
    return small / mass.clamp(min=torch.finfo(small.dtype).tiny)


def placement(maps: Tensor) -> dict[str, Tensor]:
    """Where the positive relevance of maps lies.

    Args:
        maps: signed, float (T, H, W).

    Returns:
        `(T,)` each, all in [0, 1]: `border`, `corners` and `centre`, the shares of the positive relevance there, and
        `entropy`, that of its distribution over a grid of `GRID` x `GRID` cells, 1 for an even one. NaN for a map
        without positive relevance.
    """
    positive = maps.clamp(min=0)
    total = positive.sum((1, 2))
    height, width = maps.shape[-2:]
    rows, columns = _from_edge(height, maps), _from_edge(width, maps)
    nearest = torch.minimum(rows[:, None], columns[None])
    regions = {
        "border": nearest < BORDER,
        "corners": (rows[:, None] < CORNER) & (columns[None] < CORNER),
        "centre": nearest >= (1 - CENTRE) / 2,
    }
    shares = {name: (positive * inside).sum((1, 2)) / total for name, inside in regions.items()}
    return {**shares, "entropy": _entropy(positive)}


def _from_edge(size: int, like: Tensor) -> Tensor:
    """How far the middle of each row or column is from the nearer edge, as a share of the side."""
    middle = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
    return torch.minimum(middle, 1 - middle)


def _entropy(positive: Tensor) -> Tensor:
    height, width = positive.shape[-2:]
    cells = adaptive_avg_pool2d(positive, (min(height, GRID), min(width, GRID))).flatten(1)
    shares = cells / cells.sum(1, keepdim=True)
    return torch.special.entr(shares).sum(1) / math.log(max(2, cells.shape[1]))
