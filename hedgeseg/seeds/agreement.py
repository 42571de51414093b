"""How good seeds may be, told without a true mask: do two ways of making them agree?

Seeds that change when the image is mirrored, scaled or refined are seldom right; which images change most says where
to look first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hedgeseg.seeds.seed import IGNORE, Seed


def mask_agreement(one: Tensor, other: Tensor) -> float:
    """Mean IoU of two masks (H, W) over the classes that either holds, in [0, 1]; a 255 in one leaves the pixel out.

    1 if neither holds a class. For example the masks of an image and of its mirror image, mirrored back.

    Raises:
        ValueError: the sizes differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"masks of one size are compared, got {tuple(one.shape)} and {tuple(other.shape)}")
    decided = (one != IGNORE) & (other != IGNORE)
    a, b = one[decided], other[decided]
    labels = [label for label in torch.cat([a, b]).unique().tolist() if label != 0]
    if not labels:
        return 1.0
    shares = [float(((a == x) & (b == x)).sum() / ((a == x) | (b == x)).sum()) for x in labels]
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class Suspicion:
    """What makes a seed look wrong, each in [0, 1], 0 being fine.

    Attributes:
        vanished: share of the image's classes that the mask does not show.
        doubt: mean of one minus the confidence over the foreground; 1 where there is none to judge.
        extreme: how far the area of the foreground is from the plausible, 0 between 1 % and 80 % of the image.
        unsure: share of the pixels that are 255.
    """

    vanished: float
    doubt: float
    extreme: float
    unsure: float

    @property
    def total(self) -> float:
        """Sum of the four, to rank images by."""
        return self.vanished + self.doubt + self.extreme + self.unsure


def suspicion(seed: Seed) -> Suspicion:
    """Judge a seed by itself. An image without classes is never suspicious."""
    count = len(seed.classes)
    if count == 0:
        return Suspicion(0.0, 0.0, 0.0, 0.0)
    shown = set(seed.mask.unique().tolist()) - {0, IGNORE}
    foreground = (seed.mask != 0) & (seed.mask != IGNORE)
    area = float(foreground.float().mean())
    doubt = 0.0
    if not bool(foreground.any()):
        doubt = 1.0
    elif seed.confidence is not None:
        doubt = 1 - float(seed.confidence[foreground].mean())
    extreme = max(0.0, 1 - area / 0.01, (area - 0.8) / 0.2)
    return Suspicion(1 - len(shown) / count, doubt, extreme, float((seed.mask == IGNORE).float().mean()))
