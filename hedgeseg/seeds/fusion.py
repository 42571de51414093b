"""One map from several methods: a precise one says where, a broad one says how far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Fusion = Literal["product", "max", "mean", "extent"]

FUSIONS = get_args(Fusion)

EVIDENCE = 0.25
"""Power of the evidence in `within_extent`: the extent decides where an object ends, the evidence has a say."""


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
        how: `product` (geometric mean: all must agree), `max` (any suffices), `mean`, or `extent` (of two: the first
            says which class, the second how far, see `within_extent`).

    Returns:
        float (K, H, W) in [0, 1].

    Raises:
        ValueError: no map, an unknown way to fuse, or `extent` of other than two methods.
    """
    if how == "extent":
        if len(maps) != 2:
            raise ValueError(f"fuse='extent' takes two methods, evidence of the class and extent, got {len(maps)}")
        return within_extent(*maps)
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
    raise ValueError(f"maps can be fused by {', '.join(FUSIONS)}, not {how!r}")


def within_extent(evidence: Tensor, extent: Tensor) -> Tensor:
    """How far an object goes by one map, and whose object it is by another.

    Some maps cover objects well but hardly tell classes apart (FullGrad), others tell them apart but cover little
    (hedging). With `e` the evidence and `x` the extent, class c gets ``x_c e_c^(1/4) e_c / sum_k e_k``: its share of
    the evidence among the classes of the image. With one class that share is 1, and the extent is what counts.

    Args:
        evidence: float (K, H, W) in [0, 1].
        extent: float (K, H, W) in [0, 1].

    Returns:
        float (K, H, W) in [0, 1].
    """
    total = evidence.sum(0, keepdim=True)
    share = torch.where(total > 0, evidence / total.clamp(min=torch.finfo(total.dtype).tiny), 1 / max(1, len(evidence)))
    return normalise(extent * evidence**EVIDENCE * share)
