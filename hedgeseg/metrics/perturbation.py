"""Show a model an image pixel by pixel, in the order of relevance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.metrics.evaluating import Predict, evaluating
from hedgeseg.metrics.pairs import check_maps, resize_maps

__all__ = ["check_images", "check_targets", "relevance_ranks", "reveal"]

TOGETHER = 16
"""Images shown to the model at once: the steps of one image fill a batch, which costs less than one by one."""


def relevance_ranks(maps: Tensor) -> Tensor:
    """Rank of every pixel of `(B, H, W)` maps: int64, 0 for the most relevant, equal values in row-major order."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    positions = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, positions).view(maps.shape)


def check_images(images: Tensor, maps: Tensor) -> Tensor:
    """Return the maps, checked and at the images' size.

    Raises:
        TypeError: if the maps are no floating-point tensor.
        ValueError: if there is not one map per image, or a map holds NaN or infinity.
    """
    maps = check_maps(maps)
    if images.ndim != 4 or len(images) != len(maps):
        raise ValueError(f"images must be ({len(maps)}, C, H, W), one per map, got {tuple(images.shape)}")
    return resize_maps(maps, (images.shape[2], images.shape[3]))


def check_targets(targets: Tensor | Sequence[int], count: int) -> Tensor:
    """Return the class index of each image as int64 `(B,)`.

    Raises:
        TypeError: if they are not integers.
        ValueError: if there is not one per image.
    """
    targets = torch.as_tensor(targets).detach()
    if targets.shape != (count,):
        raise ValueError(f"targets must hold one class index per image, shape ({count},), got {tuple(targets.shape)}")
    if targets.is_floating_point():
        raise TypeError(f"targets must be integer class indices, got {targets.dtype}")
    return targets.long()


def reveal(predict: Predict, front: Tensor, back: Tensor, maps: Tensor, counts: Sequence[int]) -> Tensor:
    """Logits when the `count` most relevant pixels come from `front` and the rest from `back`.

    Args:
        predict: images to logits `(B, K)`; a module is run in eval mode and left as it was.
        front: float `(B, C, H, W)`.
        back: float `(B, C, H, W)`.
        maps: float `(B, H, W)`, what ranks the pixels.
        counts: numbers of pixels, each between 0 and `H * W`.

    Returns:
        float `(len(counts), B, K)`.
    """
    ranks = relevance_ranks(maps).to(front.device)[:, None]
    steps = max(1, TOGETHER // max(1, len(front)))
    parts = []
    with evaluating(predict):
        for limits in torch.tensor(counts, device=ranks.device).split(steps):
            shown = torch.where(ranks < limits.view(-1, 1, 1, 1, 1), front, back)
            parts.append(predict(shown.flatten(0, 1)).float().unflatten(0, (len(limits), len(front))))
    return torch.cat(parts)
