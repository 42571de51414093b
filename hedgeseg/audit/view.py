"""What a network sees at each place of an image, before it has decided what it is: colours and the maps of its stages.

The last map says what a place speaks for, and a cheat speaks for the very class of the object beside it: both are seen
by the same channels. Earlier maps tell them apart, as they tell a printed label from fur.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hedgeseg.audit.measures import GRID
from hedgeseg.seeds.stage_maps import Stage, find_stages, stage_maps

STRIDES = (1, 2, 4, 8, 16, 32)

WIDTH = 0.03
"""Standard deviation of the window around a place, as a share of the shorter side."""

DIMENSIONS = 16
"""Kept of each stage: its channels, projected at random where there are more."""


def stages_of(network: nn.Module, image: Tensor) -> list[Stage]:
    """The network's stages without the last, the finest first; empty if it has no maps.

    Args:
        network: images to logits.
        image: (C, H, W), as the network takes it.
    """
    try:
        found = find_stages(network, image, STRIDES)
    except ValueError:
        return []
    return found[:-1] or found


@torch.no_grad()
def view(network: nn.Module, image: Tensor, stages: Sequence[Stage]) -> Tensor:
    """Describe the places of a grid over an image.

    Args:
        network: images to logits.
        image: float (C, H, W), as the network takes it.
        stages: of the network, `stages_of`.

    Returns:
        float (g, g', D), g and g' at most `GRID`, on the image's device: per place mean and spread of the colours, then
        each stage. All are averages over a window around the place.
    """
    size = (int(image.shape[-2]), int(image.shape[-1]))
    pixels = image.float()
    mean = _windows(pixels, size)
    spread = (_windows(pixels.square(), size) - mean.square()).clamp(min=0).sqrt()
    parts = [mean, spread]
    if stages:
        for found in stage_maps(network, image, stages):
            parts.append(_projected(_windows(found[0].float(), size)))
    largest = torch.finfo(torch.float16).max  # it is kept at that precision
    return torch.cat(parts, -1).clamp(-largest, largest)


def _windows(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages of a map (C, h, w) of an image of `size` in windows around the places of the grid: (g, g', C)."""
    rows, columns = (
        _window(cells, side, min(size), features) for cells, side in zip(features.shape[-2:], size, strict=True)
    )
    return torch.einsum("gh,chw,kw->gkc", rows, features, columns)


def _window(cells: int, side: int, shorter: int, like: Tensor) -> Tensor:
    """Weights (g, cells) of one direction's cells for each place, summing to one."""
    places = min(side, GRID)
    at = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * side
    centre = (torch.arange(places, dtype=torch.float64) + 0.5) / places * side
    weights = torch.softmax(-0.5 * ((at[None] - centre[:, None]) / (WIDTH * shorter)) ** 2, dim=1)
    return weights.to(like)


def _projected(features: Tensor) -> Tensor:
    """At most `DIMENSIONS` of the channels (..., C), by a projection that is the same everywhere."""
    channels = features.shape[-1]
    if channels <= DIMENSIONS:
        return features
    generator = torch.Generator().manual_seed(channels)
    matrix = torch.randn(channels, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
    return features @ matrix.to(features)
