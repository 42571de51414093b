"""Arithmetic that all rules share: division by nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def safe_divide(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 where b is 0."""
    zero = b == 0
    return torch.where(zero, 0, a / torch.where(zero, 1, b))
