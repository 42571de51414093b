"""Taking evidence away: is the class's probability gone with it? A suspicion becomes a test.

The region around a map's peak is painted over from its surroundings, and, as a control, a region of the same shape
where the map has least. Painting over and not blackening, because a black patch is evidence of its own.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SMOOTHING = 0.02
"""Sigma of the blur before a region is cut out, as a share of the longer side."""

LEVEL = 0.35
"""A pixel belongs to the evidence where the blurred map exceeds this share of its maximum."""

LARGEST = 0.15
"""Largest region, as a share of the image: beyond, whole objects would go."""

AROUND, REACH = 0.08, 0.15
"""Of the evidence at a place: how far its peak may be from it, and how far it may extend from its peak, as shares of
the shorter side."""

RADIUS = 3.0
"""Of the neighbourhood that painting over looks at, in pixels (Telea 2004)."""


def evidence_region(relevance: Tensor, place: tuple[float, float] | None = None) -> Tensor:
    """The strongest connected piece of positive relevance.

    Args:
        relevance: signed map, float (H, W).
        place: (row, column) in pixels that the piece is to be near, instead of anywhere.

    Returns:
        bool (H, W): the pixels above `LEVEL` of the blurred map's maximum that are connected with its peak, the
        strongest ones only where these exceed `LARGEST` of the image; empty where there is no positive relevance.
    """
    height, width = relevance.shape
    sigma = max(0.5, SMOOTHING * max(height, width))
    blurred = cv2.GaussianBlur(relevance.clamp(min=0).float().cpu().numpy(), (0, 0), sigma)
    if place is None:
        fewest = int((1 - LARGEST) * blurred.size)
        allowed, enough = blurred, float(np.partition(blurred.ravel(), fewest)[fewest])
    else:
        near = np.where(_within(place, AROUND, height, width), blurred, 0)
        peak = np.unravel_index(int(near.argmax()), near.shape)
        allowed, enough = np.where(_within(peak, REACH, height, width), blurred, 0), 0.0
        blurred = near
    if not blurred.max() > 0:
        return torch.zeros(height, width, dtype=torch.bool)
    peak = np.unravel_index(int(blurred.argmax()), (height, width))
    above = allowed >= max(LEVEL * float(blurred.max()), enough)
    _, pieces = cv2.connectedComponents(above.astype(np.uint8))
    return torch.from_numpy(pieces == pieces[peak])


def _within(place: Any, share: float, height: int, width: int) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[:height, :width]
    return (rows - place[0]) ** 2 + (columns - place[1]) ** 2 <= max(1.0, share * min(height, width)) ** 2


def control_region(region: Tensor, relevance: Tensor) -> Tensor:
    """The same shape elsewhere: of its copies shifted cyclically over the image, the one with least positive relevance.

    Args:
        region: bool (H, W).
        relevance: signed map, float (H, W).
    """
    height, width = region.shape
    inside = region.cpu().numpy()
    positive = relevance.clamp(min=0).float().cpu().numpy()
    rows, columns = np.nonzero(inside)
    best, least = (rows, columns), float("inf")
    for down in range(0, height, max(1, height // 8)):
        for right in range(0, width, max(1, width // 8)):
            there = (rows + down) % height, (columns + right) % width
            if inside[there].any():
                continue
            here = float(positive[there].sum())
            if here < least:
                best, least = there, here
    moved = np.zeros_like(inside)
    moved[best] = True
    return torch.from_numpy(moved)


def paint_over(image: Tensor, region: Tensor) -> Tensor:
    """Fill a region of an image from its surroundings.

    Args:
        image: float (C, H, W), any range.
        region: bool (H, W).

    Returns:
        float (C, H, W), unchanged outside the region (Telea, "An image inpainting technique based on the fast marching
        method", 2004, channel by channel).
    """
    hole = region.cpu().numpy().astype(np.uint8)
    channels = [
        cv2.inpaint(np.ascontiguousarray(channel), hole, RADIUS, cv2.INPAINT_TELEA)
        for channel in image.detach().float().cpu().numpy()
    ]
    filled = torch.from_numpy(np.stack(channels)).to(image)
    return torch.where(region.to(image.device), filled, image)
