"""The mean IoU of seeds with its uncertainty, from the histograms that single images leave behind.

An image's seed is kept as the cells of `SeedCurve`'s histogram that are not empty. Summed, they give the curve over
all thresholds; taken at the best of these, they give hits, predicted and true pixels per image and class, which is what
resampling images needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.metrics import Comparison
from hedgeseg.metrics.resampling import Statistic, compare_pooled, pooled_interval
from hedgeseg.metrics.seed_curve import seed_curves

Cells = tuple[Sequence[int], Sequence[int]]


def pooled_curve(seeds: Sequence[Cells], num_classes: int, bins: int) -> dict[str, Tensor]:
    """What `SeedCurve.compute` returns for these images together."""
    shape = (num_classes + 1, num_classes, bins + 1)
    cells = torch.cat([torch.tensor(c, dtype=torch.int64) for c, _ in seeds])
    pixels = torch.cat([torch.tensor(p, dtype=torch.int64) for _, p in seeds])
    return seed_curves(torch.zeros(math.prod(shape), dtype=torch.int64).index_add_(0, cells, pixels).view(shape))


def best_parts(seeds: Sequence[Cells], num_classes: int, bins: int) -> Tensor:
    """Hits, predicted and true pixels of each image and class at the best threshold of all, float64 (N, C + 1, 3)."""
    best = round(float(pooled_curve(seeds, num_classes, bins)["threshold_best"]) * bins)
    parts = torch.zeros(len(seeds), num_classes + 1, 3, dtype=torch.float64)
    for row, (cells, pixels) in enumerate(seeds):
        cell, count = torch.tensor(cells), torch.tensor(pixels, dtype=torch.float64)
        true = cell // (num_classes * (bins + 1))
        # Above the threshold's own entry a pixel has its strongest class, else it is background.
        predicted = torch.where(cell % (bins + 1) > best, cell // (bins + 1) % num_classes + 1, 0)
        parts[row, :, 0].index_add_(0, true, count * (true == predicted))
        parts[row, :, 1].index_add_(0, predicted, count)
        parts[row, :, 2].index_add_(0, true, count)
    return parts


def mean_iou(parts: Tensor) -> float:
    """Mean IoU of all images together, from `best_parts` (N, C + 1, 3)."""
    return float(_miou(parts)(torch.ones(1, len(parts), dtype=torch.float64)))


def miou_interval(parts: Tensor, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean IoU over images.

    Args:
        parts: (N, C + 1, 3) from `best_parts`.
        resamples: number of resampled data sets.
        level: of confidence.
        seed: of the resampling.
    """
    found = pooled_interval(_miou(parts), len(parts), level, resamples, seed)
    return found.low, found.high


def compare_miou(
    first: Tensor, second: Tensor, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Comparison:
    """Paired comparison of two methods' mean IoU on the same images, first minus second.

    Args:
        first: (N, C + 1, 3) from `best_parts`.
        second: of the same images in the same order.
        resamples: number of resampled data sets, and of random exchanges.
        level: of confidence.
        seed: of both.
    """
    return compare_pooled(_miou(torch.cat([first, second])), len(first), level, resamples, seed)


def _miou(parts: Tensor) -> Statistic:
    def miou(weights: Tensor) -> Tensor:
        hits, predicted, true = (weights @ parts.flatten(1)).view(-1, *parts.shape[1:]).unbind(2)
        return (hits / (predicted + true - hits)).nanmean(1)

    return miou
