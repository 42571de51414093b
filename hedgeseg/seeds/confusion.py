"""Confusion of a mask with the true one, and the mean IoU with its uncertainty.

Counts are pooled over the data set before dividing, as PASCAL VOC does. What a *predicted* 255 means differs between
tools, so it is a named choice:

- `background`: counts as background (IRN);
- `drop`: the pixel is left out (AFA), so read the mIoU beside the coverage;
- `miss`: wrong wherever it stands (SEAM).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hedgeseg.metrics.resampling import pooled_interval
from hedgeseg.seeds.seed import IGNORE

Unsure = Literal["background", "drop", "miss"]


def confusion_counts(mask: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixels by true and predicted label, int64 (C + 1, C + 2); the last column is predicted 255.

    Args:
        mask: uint8 (H, W), predicted: 0 background, class + 1, 255.
        truth: uint8 (H, W), true; 255 pixels are not counted.
        num_classes: C, without background.

    Raises:
        ValueError: sizes differ, or a label exceeds `num_classes`.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"mask is {tuple(mask.shape)} but the true mask is {tuple(truth.shape)} pixels")
    predicted, true = mask.long(), truth.long()
    for name, labels in (("mask", predicted), ("true mask", true)):
        largest = int(labels[labels != IGNORE].max()) if bool((labels != IGNORE).any()) else 0
        if largest > num_classes:
            raise ValueError(f"the {name} holds label {largest}, but there are {num_classes} classes (and background)")
    columns = num_classes + 2
    predicted = predicted.masked_fill(predicted == IGNORE, num_classes + 1)
    counted = true != IGNORE
    cells = true[counted] * columns + predicted[counted]
    return torch.bincount(cells, minlength=(num_classes + 1) * columns).reshape(num_classes + 1, columns)


def iou_parts(counts: Tensor, unsure: Unsure = "background") -> tuple[Tensor, Tensor, Tensor]:
    """Hits, predicted and true pixels per label, each float64 (..., C + 1), from counts (..., C + 1, C + 2).

    Raises:
        ValueError: unknown treatment of predicted 255.
    """
    counts = counts.double()
    decided, undecided = counts[..., :-1], counts[..., -1]
    hits = decided.diagonal(dim1=-2, dim2=-1)
    predicted, true = decided.sum(-2), decided.sum(-1)
    if unsure == "drop":
        return hits, predicted, true
    true = true + undecided
    if unsure == "miss":
        return hits, predicted, true
    if unsure != "background":
        raise ValueError(f"a predicted 255 can count as background, drop or miss, not {unsure!r}")
    hits, predicted = hits.clone(), predicted.clone()
    hits[..., 0] += undecided[..., 0]
    predicted[..., 0] += undecided.sum(-1)
    return hits, predicted, true


def ious(counts: Tensor, unsure: Unsure = "background") -> Tensor:
    """IoU per label, float64 (..., C + 1); NaN for labels that neither occur nor are predicted."""
    hits, predicted, true = iou_parts(counts, unsure)
    return hits / (predicted + true - hits)


def miou_interval(
    counts: Tensor, unsure: Unsure = "background", resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean IoU over images (percentile method).

    Args:
        counts: int64 (N, C + 1, C + 2), one confusion per image.
        unsure: see the module.
        resamples: data sets drawn, with replacement, from the N images.
        level: share of the resampled means inside the interval.
        seed: of the draw; the same seed gives the same interval.
    """
    table = counts.double()

    def miou(weights: Tensor) -> Tensor:
        pooled = (weights @ table.flatten(1)).reshape(len(weights), *table.shape[1:])
        return ious(pooled, unsure).nanmean(-1)

    found = pooled_interval(miou, len(table), level, resamples, seed)
    return found.low, found.high
