"""Objects from a semantic mask: connected regions of one class, with their boxes and scores.

Semantic masks do not tell touching objects apart; regions are what a detector's metric can be given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from hedgeseg.seeds.seed import IGNORE, Seed


@dataclass(frozen=True, eq=False)
class Objects:
    """Regions of one image.

    Attributes:
        masks: bool (n, H, W).
        boxes: float32 (n, 4), x0 y0 x1 y1 in pixels, the far edges exclusive.
        labels: int64 (n,), class indices without background.
        scores: float32 (n,) in [0, 1].
    """

    masks: Tensor
    boxes: Tensor
    labels: Tensor
    scores: Tensor


def regions(mask: Tensor | np.ndarray, smallest: int = 1) -> Objects:
    """Connected regions (8 neighbours) of each class of a mask, with score 1.

    Args:
        mask: uint8 (H, W); 0 and 255 are no objects.
        smallest: regions of fewer pixels are left out.
    """
    labels_image = np.asarray(mask)
    masks, labels, boxes = [], [], []
    for value in np.unique(labels_image):
        if value in (0, IGNORE):
            continue
        numbered, _ = ndimage.label(labels_image == value, structure=np.ones((3, 3)))
        for number, window in enumerate(ndimage.find_objects(numbered), start=1):
            inside = numbered[window] == number
            if inside.sum() < smallest:
                continue
            full = np.zeros(labels_image.shape, dtype=bool)
            full[window] = inside
            rows, columns = window
            masks.append(full)
            labels.append(int(value) - 1)
            boxes.append((columns.start, rows.start, columns.stop, rows.stop))
    count = len(labels)
    stacked = np.stack(masks) if masks else np.zeros((0, *labels_image.shape), dtype=bool)
    return Objects(
        torch.from_numpy(stacked),
        torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.ones(count),
    )


def seed_objects(seed: Seed, smallest: int = 16) -> Objects:
    """Connected regions of a seed's mask, each with the mean score of its class inside it."""
    found = regions(seed.mask, smallest)
    row = {int(c): k for k, c in enumerate(seed.classes.tolist())}
    scores = [
        float(seed.scores[row[int(label)]][inside].mean())
        for label, inside in zip(found.labels, found.masks, strict=True)
    ]
    return Objects(found.masks, found.boxes, found.labels, torch.tensor(scores, dtype=torch.float32))
