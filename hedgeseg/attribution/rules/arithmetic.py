"""Arithmetic that all rules share: division by nothing, and sums that never couple two images."""

from __future__ import annotations

import torch
from torch import Tensor


def safe_divide(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 where b is 0."""
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def per_sample(r: Tensor, batch: int, dtype: torch.dtype | None = None) -> Tensor:
    """Sum of every sample's entries, in `dtype`: (T, N*m, ...) to (T, N)."""
    return r.unflatten(1, (batch, -1)).sum(tuple(range(2, r.ndim + 1)), dtype=dtype)


def spread(s: Tensor, like: Tensor) -> Tensor:
    """Per-sample numbers (T, N) in a shape that broadcasts against `like` (T, N*m, ...)."""
    repeats = like.shape[1] // s.shape[1]
    s = s if repeats == 1 else s.repeat_interleave(repeats, dim=1)
    return s.view(*s.shape, *(1,) * (like.ndim - 2))
