"""How good seeds may be, told without a true mask: do two ways of making them agree?

Seeds that change when the image is mirrored, scaled or refined are seldom right; which images change most says where
to look first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.refine.crf import dense_crf
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


@torch.no_grad()
def crf_agreement(seed: Seed, picture: np.ndarray | Tensor, side: int = 160) -> float:
    """How far a dense CRF leaves a mask as it is, in [0, 1]: a mask that follows the picture's edges survives it.

    Args:
        seed: only its mask is looked at; 255 counts as background for the CRF and not at all for the agreement.
        picture: uint8 (H, W, 3) of the seed's size.
        side: longest side in pixels at which the CRF runs.

    Raises:
        ValueError: a picture of another size or type.
    """
    shown = torch.as_tensor(np.array(picture) if isinstance(picture, np.ndarray) else picture)
    if shown.dtype != torch.uint8 or tuple(shown.shape) != (*seed.size, 3):
        raise ValueError(f"picture must be uint8 {(*seed.size, 3)}, the seed's size, got {tuple(shown.shape)}")
    shrink = min(1.0, side / max(seed.size))
    size = (max(1, round(seed.size[0] * shrink)), max(1, round(seed.size[1] * shrink)))
    colours = F.interpolate(shown.permute(2, 0, 1)[None].float(), size=size, mode="area")[0]
    mask = F.interpolate(seed.mask[None, None].float(), size=size, mode="nearest")[0, 0].to(torch.uint8)
    labels = torch.tensor(sorted({0, *mask.unique().tolist()} - {IGNORE}), dtype=torch.uint8)
    if len(labels) < 2:
        return 1.0
    known = torch.where(mask == IGNORE, torch.zeros_like(mask), mask)
    chosen = (known[None] == labels.view(-1, 1, 1)).float()
    posterior = dense_crf(colours.round().to(torch.uint8).permute(1, 2, 0).contiguous(), chosen, unary="labels")
    return mask_agreement(mask, labels[posterior.max(0).indices])


@dataclass(frozen=True)
class Suspicion:
    """What makes a seed look wrong, each in [0, 1], 0 being fine.

    Attributes:
        vanished: share of the image's classes that the mask does not show.
        doubt: mean of one minus the confidence over the foreground; 1 where there is none to judge.
        extreme: how far the area of the foreground is from the plausible, 0 between 1 % and 80 % of the image.
        unsure: share of the pixels that are 255.
        flip: one minus the agreement with the mirrored image's mask; 0 where it was not made.
        scale: one minus the agreement between scales; 0 where there is one.
        crf: one minus the agreement with the mask that a CRF makes of it; 0 where it was not asked.
    """

    vanished: float
    doubt: float
    extreme: float
    unsure: float
    flip: float = 0.0
    scale: float = 0.0
    crf: float = 0.0

    @property
    def total(self) -> float:
        """Sum of all, to rank images by."""
        return sum(vars(self).values())


def suspicion(seed: Seed, picture: np.ndarray | Tensor | None = None) -> Suspicion:
    """Judge a seed by itself, and by its picture if there is one. An image without classes is never suspicious."""
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
    views = {name: 1 - seed.estimates[name] for name in ("flip", "scale") if name in seed.estimates}
    crf = 0.0 if picture is None else 1 - crf_agreement(seed, picture)
    unsure = float((seed.mask == IGNORE).float().mean())
    return Suspicion(1 - len(shown) / count, doubt, extreme, unsure, crf=crf, **views)
