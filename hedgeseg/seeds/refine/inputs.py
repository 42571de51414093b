"""What every refiner accepts: a uint8 RGB picture and non-negative scores of the same size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def check_inputs(image: Tensor | np.ndarray, probabilities: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """Picture (H, W, 3) uint8 and probabilities (L, H, W) float32, as tensors on the probabilities' device.

    Raises:
        ValueError: another dtype, rank or size, negative or non-finite probabilities.
    """
    values = torch.as_tensor(probabilities).detach()
    if values.ndim != 3 or not values.is_floating_point():
        raise ValueError(f"probabilities must be float (L, H, W), got {values.dtype} {tuple(values.shape)}")
    # A copy: photographs read by PIL may not be written to, which torch warns of.
    picture = torch.as_tensor(np.array(image) if isinstance(image, np.ndarray) else image, device=values.device)
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"image must be uint8 (H, W, 3), got {picture.dtype} {tuple(picture.shape)}")
    if picture.shape[:2] != values.shape[1:]:
        raise ValueError(
            f"image is {tuple(picture.shape[:2])} but the probabilities are {tuple(values.shape[1:])} pixels; "
            "resize one of them"
        )
    if not bool(torch.isfinite(values).all()) or bool((values < 0).any()):
        raise ValueError("probabilities must be finite and not negative")
    return picture, values.float()
