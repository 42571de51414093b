"""Average precision of detected boxes at one overlap, as COCO's code computes it, for weighted images.

Matching is done image by image, so an image's matches are known once for all and images can be resampled: COCO's own
code would have to run anew for every resampled data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hedgeseg.metrics.max_box_accuracy import box_overlaps

__all__ = ["Detections", "average_precision", "match_boxes"]

RECALLS = 101
"""Recalls 0, 0.01, ..., 1 at which the precision is read."""


@dataclass(frozen=True)
class Detections:
    """What was found of one class in one image.

    Attributes:
        label: class index.
        objects: number of true objects.
        scores: of the detections.
        hits: whether each is matched with an object.
    """

    label: int
    objects: int
    scores: Sequence[float]
    hits: Sequence[bool]


def match_boxes(found: Tensor, scores: Tensor, true: Tensor, overlap: float = 0.5) -> Tensor:
    """Which detections find an object: the strongest first, each the object it overlaps most of those left.

    Args:
        found: float `(n, 4)`, xyxy.
        scores: float `(n,)`.
        true: float `(m, 4)`.
        overlap: least IoU.

    Returns:
        bool `(n,)`.
    """
    hits = torch.zeros(len(found), dtype=torch.bool)
    overlaps = box_overlaps(found.double().cpu().numpy(), true.double().cpu().numpy())
    for row in scores.cpu().argsort(descending=True, stable=True).tolist():
        # COCO takes the last of equals, and an overlap that misses by rounding.
        best = len(true) - 1 - int(overlaps[row, ::-1].argmax()) if len(true) else 0
        if len(true) and overlaps[row, best] >= overlap - 1e-10:
            hits[row] = True
            overlaps[:, best] = -1.0
    return hits


def average_precision(images: Sequence[Sequence[Detections]], weights: Tensor) -> Tensor:
    """Mean average precision over the classes that have objects, of data sets in which images count more than once.

    Args:
        images: the detections of each of N images, one entry per class.
        weights: float64 `(R, N)`, whole numbers: how often each image is in each data set.

    Returns:
        float64 `(R,)`; NaN where no object is.
    """
    labels = sorted({entry.label for image in images for entry in image})
    rows = [_of_class(images, label, weights) for label in labels]
    return torch.stack(rows).nanmean(0) if rows else weights.new_full((len(weights),), torch.nan)


def _of_class(images: Sequence[Sequence[Detections]], label: int, weights: Tensor) -> Tensor:
    entries = [(i, entry) for i, image in enumerate(images) for entry in image if entry.label == label]
    owners = torch.tensor([i for i, entry in entries for _ in entry.scores], dtype=torch.int64)
    scores = torch.tensor([score for _, entry in entries for score in entry.scores], dtype=torch.float64)
    hits = torch.tensor([hit for _, entry in entries for hit in entry.hits], dtype=torch.float64)
    objects = weights.new_zeros(len(images))
    for image, entry in entries:
        objects[image] += entry.objects
    total = weights @ objects
    order = scores.argsort(descending=True, stable=True)
    counted = weights[:, owners[order]]
    true, seen = (counted * hits[order]).cumsum(1), counted.cumsum(1)
    # The best precision at this recall or a higher one; a detection of weight 0 repeats what was before it.
    precision = (true / seen).nan_to_num(nan=0.0).flip(1).cummax(1).values.flip(1)
    recall = true / total[:, None]
    read = torch.from_numpy(np.linspace(0.0, 1.0, RECALLS)).expand(len(weights), RECALLS).contiguous()
    place = torch.searchsorted(recall.nan_to_num(nan=0.0).contiguous(), read)
    padded = torch.cat([precision, precision.new_zeros(len(weights), 1)], 1)
    return padded.gather(1, place).mean(1).masked_fill(total == 0, torch.nan)
