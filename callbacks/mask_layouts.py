"""Masks in the layouts that people use, read as ids `(H, W)` at the size of the image.

| one image's share of a batch        | read as                                                              |
|-------------------------------------|----------------------------------------------------------------------|
| `(h, w)`, `(1, h, w)`, `(h, w, 1)`  | ids: 0 background, class index + 1, void                             |
| `(K, h, w)`, `(h, w, K)`            | one channel per class, behind one for the background if every pixel  |
|                                     | is in exactly one channel (or K tells: one more than there are labels)|

A mask of another size than the image, such as the photograph's own, is brought to it by nearest neighbours: it must
show the same cut-out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


class MaskError(ValueError):
    """A mask that cannot be read; the image and its labels may be fine."""


def looks_like_masks(value: Any) -> bool:
    """Whether an unnamed part of a batch has the rank of masks."""
    if isinstance(value, Tensor):
        return value.ndim in (3, 4)
    parts = value if isinstance(value, list | tuple) else ()
    return bool(parts) and all(isinstance(part, Tensor) and part.ndim in (2, 3) for part in parts)


def read_mask(masks: Any, index: int, count: int, size: tuple[int, int], classes: int | None = None) -> Tensor:
    """The mask of one image of a batch.

    Args:
        masks: of the batch: a tensor, an array, or one of these per image.
        index: of the image.
        count: images in the batch.
        size: height and width of the image.
        classes: how many there are, if the labels tell.

    Returns:
        int64 `(H, W)` on the CPU.

    Raises:
        MaskError: another layout; says what was found.
    """
    if not hasattr(masks, "__len__") or len(masks) != count:
        raise MaskError(
            f"the batch's mask is {_described(masks)}, expected one mask for each of its {count} images: (B, H, W), "
            f"(B, 1, H, W), one-hot (B, K, H, W) or a list; give batch_adapter="
        )
    mask = torch.as_tensor(np.asarray(masks[index]) if not isinstance(masks[index], Tensor) else masks[index])
    mask = mask.detach().cpu()
    if mask.ndim not in (2, 3) or not mask.numel():
        raise MaskError(
            f"the mask of image {index} of the batch is {_described(mask)}, expected (h, w), (1, h, w), (h, w, 1) or "
            f"one channel per class; give batch_adapter="
        )
    if mask.is_floating_point() and not torch.equal(mask, mask.round()):
        raise MaskError(
            f"the mask of image {index} of the batch is {_described(mask)} with values such as "
            f"{float(mask[mask != mask.round()][0]):.4g}, expected ids: 0 background, class index + 1 (ToTensor() "
            f"divides ids by 255)"
        )
    ids = _ids(mask, classes)
    if tuple(ids.shape) != size:
        ids = interpolate(ids[None, None].double(), size=size, mode="nearest-exact")[0, 0].long()
    return ids.clone()


def _ids(mask: Tensor, classes: int | None) -> Tensor:
    if mask.ndim == 2:
        return mask.long()
    channels = (mask if mask.shape[0] <= mask.shape[2] else mask.permute(2, 0, 1)).long()
    if len(channels) == 1:
        return channels[0]
    if not ((channels == 0) | (channels == 1)).all():
        raise MaskError(
            f"a mask of {len(channels)} channels holds {sorted(channels.unique().tolist())[:5]}, expected 0 and 1: one "
            f"channel per class; a picture of colours has to be turned into ids by batch_adapter="
        )
    behind_background = len(channels) == classes + 1 if classes else bool((channels.sum(0) == 1).all())
    if classes and len(channels) == classes:
        behind_background = False
    covered = channels.sum(0) > 0
    return channels.argmax(0) + (0 if behind_background else covered.long())


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{getattr(value, 'dtype', type(value).__name__)} {tuple(shape)}" if shape is not None else str(type(value))
