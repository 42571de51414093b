"""What a seed is: per-class scores, the pseudo-mask cut from them, and how sure each pixel is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

IGNORE = 255
"""Mask value of a pixel that takes no side (void in VOC, `ignore_index` of the losses that train on masks)."""

LAST_CLASS = IGNORE - 2
"""Largest class index a uint8 mask can hold: class `c` is written as `c + 1` and 255 is taken."""


@dataclass(frozen=True, eq=False)
class Seed:
    """Pseudo-label of one image.

    Arrays are accepted and become CPU tensors that share their memory where they can.

    Attributes:
        scores: float32 (K, H, W) in [0, 1], one map per class, in the order of `classes`.
        classes: int64 (K,), class indices without background, each once; K may be 0.
        mask: uint8 (H, W); 0 background, `class + 1`, 255 ignore.
        confidence: float32 (H, W) in [0, 1] or None: margin of the chosen label over the runner-up.
        estimates: quality in [0, 1], told without a true mask, by name, as `hedgeseg.seeds.agreement` has them.

    Raises:
        ValueError: shapes that do not fit each other, a score outside [0, 1], or a mask value that is no label of
            this seed.
    """

    scores: Tensor
    classes: Tensor
    mask: Tensor
    confidence: Tensor | None = None
    estimates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "scores", _cpu(self.scores, torch.float32))
        set_field(self, "classes", check_classes(self.classes))
        set_field(self, "mask", _cpu(self.mask, torch.uint8))
        if self.confidence is not None:
            set_field(self, "confidence", _cpu(self.confidence, torch.float32))
        _check_shapes(self)
        _check_values(self)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.mask.shape
        return int(height), int(width)


def seed_from_mask(mask: Tensor | np.ndarray) -> Seed:
    """Seed of a mask that has no scores: one where the mask shows the class, zero elsewhere, 255 included."""
    labels = torch.tensor(mask, dtype=torch.uint8) if not isinstance(mask, Tensor) else mask.to(torch.uint8)
    shown = labels.unique()
    shown = shown[(shown != 0) & (shown != IGNORE)].long()
    return Seed((labels[None] == shown.view(-1, 1, 1)).float(), shown - 1, labels)


def check_classes(classes: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """Class indices as an int64 tensor (K,), each a whole number from 0 to 253 that occurs once.

    Raises:
        ValueError: a class is repeated, negative, not whole, or does not fit a uint8 mask.
    """
    given = torch.as_tensor(classes).detach().cpu().reshape(-1)
    indices = given.to(torch.int64)
    if given.numel() and (given.dtype == torch.bool or bool((given != indices).any())):
        raise ValueError(f"classes must be class indices such as [3, 14], got {given.tolist()}")
    if indices.unique().numel() != indices.numel():
        raise ValueError(f"each class may occur once in `classes`, got {indices.tolist()}")
    for value in indices.tolist():
        if not 0 <= value <= LAST_CLASS:
            raise ValueError(
                f"class {value} does not fit a uint8 mask, which holds classes 0 to {LAST_CLASS}; "
                "use `SeedGenerator.scores` for maps without a mask, or a model with fewer outputs"
            )
    return indices


def _cpu(values: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(values).detach().to(device="cpu", dtype=dtype)


def _check_shapes(seed: Seed) -> None:
    if seed.mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got shape {tuple(seed.mask.shape)}")
    expected = (len(seed.classes), *seed.mask.shape)
    if tuple(seed.scores.shape) != expected:
        raise ValueError(
            f"scores must be (K, H, W) = {expected} to fit classes and mask, got {tuple(seed.scores.shape)}"
        )
    if seed.confidence is not None and seed.confidence.shape != seed.mask.shape:
        raise ValueError(
            f"confidence must have the mask's shape {tuple(seed.mask.shape)}, got {tuple(seed.confidence.shape)}"
        )


def _check_values(seed: Seed) -> None:
    if seed.scores.numel():
        low, high = torch.aminmax(seed.scores)
        if not (low >= 0 and high <= 1):
            raise ValueError(f"scores must lie in [0, 1], got values from {float(low):.4g} to {float(high):.4g}")
    known = {0, IGNORE, *(seed.classes + 1).tolist()}
    strange = sorted(set(seed.mask.unique().tolist()) - known)
    if strange:
        raise ValueError(
            f"mask holds {strange}, but classes {seed.classes.tolist()} allow only {sorted(known)} (0 background, "
            "class + 1, 255 ignore)"
        )
