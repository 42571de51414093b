"""What counts for a class where its evidence is: its contributions at the last map, averaged by the relevance.

Two explanations that rest on the same thing have like profiles wherever in the picture it is, which the maps
themselves do not tell: a watermark moves, a pooled map moves with it, and the profile stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

PEAKS = 3
"""How many places of an image are remembered beside the mean over all."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The evidence of T maps of one image, as channels.

    Attributes:
        mean: float (T, C), the contributions averaged by the positive relevance at their place.
        peaks: float (T, P, C), the contributions at the P strongest places, no two of them neighbours.
    """

    mean: Tensor
    peaks: Tensor


def profile(counts: Tensor, maps: Tensor, peaks: int = PEAKS) -> Profile:
    """Describe what maps rest on.

    Args:
        counts: float (T, C, h, w), what counts for each class: `hedgeseg.attribution.contributions`.
        maps: signed, float (T, H, W), on the same device.
        peaks: how many places to remember.

    Returns:
        Vectors of unit length each; zero where a map has no positive relevance.
    """
    height, width = counts.shape[-2:]
    weights = adaptive_avg_pool2d(maps.clamp(min=0).to(counts.dtype), (height, width))
    mean = torch.einsum("thw,tchw->tc", weights, counts)
    places = _strongest(weights, peaks)
    at = counts.flatten(2).gather(2, places[:, None].expand(-1, counts.shape[1], -1)).mT
    return Profile(_unit(mean), _unit(at))


def _strongest(weights: Tensor, count: int) -> Tensor:
    """Flat index (T, count) of the largest cells, each found after the neighbourhood of the one before was cleared."""
    left, width = weights.clone(), weights.shape[-1]
    found = []
    for _ in range(count):
        index = left.flatten(1).argmax(1)
        found.append(index)
        for row, cell in enumerate(index.tolist()):
            y, x = divmod(cell, width)
            left[row, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = -1
    return torch.stack(found, 1)


def _unit(values: Tensor) -> Tensor:
    return values / values.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
