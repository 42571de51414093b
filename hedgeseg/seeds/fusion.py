"""One map from several methods: a precise one says where, a broad one says how far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Fusion = Literal["product", "max", "mean"]


def normalise(maps: Tensor) -> Tensor:
    """Positive part of (K, H, W) maps, each divided by its maximum; a map without a positive value becomes zero."""
    positive = maps.clamp(min=0)
    if positive.numel() == 0:
        return positive
    peak = positive.amax((-2, -1), keepdim=True)
    return torch.where(peak > 0, positive / peak.clamp(min=torch.finfo(peak.dtype).tiny), torch.zeros_like(positive))


def fuse(maps: Sequence[Tensor], how: Fusion = "product") -> Tensor:
    """Fuse normalised maps of several methods and normalise the result.

    Args:
        maps: float (K, H, W) each, in [0, 1].
        how: `product` (geometric mean: all must agree), `max` (any suffices) or `mean`.

    Returns:
        float (K, H, W) in [0, 1].

    Raises:
        ValueError: no map, or an unknown way to fuse.
    """
    if not maps:
        raise ValueError("there is no map to fuse")
    stack = torch.stack(list(maps))
    if how == "product":
        # A product of n maps is an n-th power in scale; the root keeps the threshold's meaning.
        return normalise(stack.prod(0) ** (1 / len(stack)))
    if how == "mean":
        return normalise(stack.mean(0))
    if how == "max":
        return normalise(stack.amax(0))
    raise ValueError(f"maps can be fused by product, max or mean, not {how!r}")
