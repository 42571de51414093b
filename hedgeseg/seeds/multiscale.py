"""Several looks at one image: scaled and mirrored copies, and how their maps become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Merge = Literal["sum", "max", "mean"]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Size in pixels at a scale, keeping each side odd or even as it was.

    Networks of stride 32 want even sides, and networks converted from TensorFlow padding want odd ones (225, 257):
    whichever held at scale 1 holds at every scale.
    """

    def side(pixels: int) -> int:
        wanted = pixels * scale
        return max(1, pixels % 2 + 2 * round((wanted - pixels % 2) / 2))

    return side(size[0]), side(size[1])


def views(image: Tensor, scales: Sequence[float], flip: bool, detail: Tensor | None = None) -> Iterator[Tensor]:
    """Batches of one scale each: (1, C, h, w), or (2, C, h, w) with the mirrored copy second.

    Args:
        image: float (C, H, W).
        scales: factors of the side; 1.0 passes the image through untouched.
        flip: whether to add the left-right mirrored copy.
        detail: the same picture, float (C, H', W'), in more pixels: the other scales are taken from it, so that a
            larger one shows more and not the same enlarged.
    """
    size = (int(image.shape[-2]), int(image.shape[-1]))
    for scale in scales:
        wanted = scaled_size(size, scale)
        view = image[None]
        if wanted != size:
            given = view if detail is None else detail[None]
            view = F.interpolate(given, size=wanted, mode="bilinear", align_corners=False, antialias=True)
        yield torch.cat([view, view.flip(-1)]) if flip else view


def unflip(maps: Tensor) -> Tensor:
    """Turn the maps (N, K, h, w) of a batch from `views` upright: the second image, if any, is mirrored back."""
    if len(maps) == 1:
        return maps
    return torch.cat([maps[:1], maps[1:].flip(-1)])


def merge(maps: Sequence[Tensor], how: Merge) -> Tensor:
    """One map per class from the maps of all views.

    Args:
        maps: float (N_i, K, h_i, w_i), non-negative, all of one spatial size.
        how: `sum` (IRN), `max` (AFA) or `mean`.

    Returns:
        float (K, H, W).

    Raises:
        ValueError: unknown way to merge.
    """
    stack = torch.cat(list(maps))
    if how == "sum":
        return stack.sum(0)
    if how == "mean":
        return stack.mean(0)
    if how == "max":
        return stack.amax(0)
    raise ValueError(f"maps can be merged by sum, max or mean, not {how!r}")


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (..., H, W) maps (align_corners=False); untouched if the size is right."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return F.interpolate(flat, size=size, mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], *size)
