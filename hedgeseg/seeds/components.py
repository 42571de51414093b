"""Objects from a semantic mask: connected regions of one class, with their boxes and scores.

Semantic masks do not tell touching objects apart; regions are what a detector's metric can be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from hedgeseg.connected_regions import connected_regions
from hedgeseg.seeds.seed import IGNORE, Seed


@dataclass(frozen=True, eq=False)
class Objects:
    """Regions of one image. Each is kept as its part of the picture: thousands of them fit into memory.

    Attributes:
        size: (height, width) of the image.
        windows: where each region lies: rows and columns of its box.
        parts: which pixels of its window it takes up, bool (h, w).
        labels: int64 (n,), class indices without background.
        scores: float32 (n,) in [0, 1].
    """

    size: tuple[int, int]
    windows: tuple[tuple[slice, slice], ...]
    parts: tuple[np.ndarray, ...]
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def boxes(self) -> Tensor:
        """Float32 (n, 4), x0 y0 x1 y1 in pixels, the far edges exclusive."""
        corners = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in self.windows]
        return torch.tensor(corners, dtype=torch.float32).reshape(len(self), 4)

    @property
    def masks(self) -> Tensor:
        """Bool (n, H, W), all at once: a full picture for each."""
        full = torch.zeros(len(self), *self.size, dtype=torch.bool)
        for mask, (rows, columns), part in zip(full, self.windows, self.parts, strict=True):
            mask[rows, columns] = torch.from_numpy(part)
        return full

    def run_lengths(self) -> Iterator[dict[str, Any]]:
        """COCO's compressed run lengths of each, as pycocotools has them."""
        canvas = np.zeros(self.size, dtype=np.uint8, order="F")
        for window, part in zip(self.windows, self.parts, strict=True):
            canvas[window] = part
            yield dict(rle.encode(canvas))
            canvas[window] = 0


def regions(mask: Tensor | np.ndarray, smallest: int = 1) -> Objects:
    """Connected regions (8 neighbours) of each class of a mask, with score 1.

    Args:
        mask: uint8 (H, W); 0 and 255 are no objects.
        smallest: regions of fewer pixels are left out.
    """
    labels_image = np.asarray(mask)
    windows, parts, labels = [], [], []
    for value in np.unique(labels_image):
        if value in (0, IGNORE):
            continue
        found = connected_regions(labels_image == value)
        for place in np.flatnonzero(found.areas >= smallest).tolist():
            windows.append(found.window(place))
            parts.append(found.part(place))
            labels.append(int(value) - 1)
    height, width = labels_image.shape
    indices = torch.tensor(labels, dtype=torch.int64)
    return Objects((height, width), tuple(windows), tuple(parts), indices, torch.ones(len(labels)))


def seed_objects(seed: Seed, smallest: int = 16) -> Objects:
    """Connected regions of a seed's mask, each with the mean score of its class inside it."""
    found = regions(seed.mask, smallest)
    row = {int(c): k for k, c in enumerate(seed.classes.tolist())}
    scores = [
        float(seed.scores[row[label]][window][torch.from_numpy(part)].mean())
        for label, window, part in zip(found.labels.tolist(), found.windows, found.parts, strict=True)
    ]
    return replace(found, scores=torch.tensor(scores, dtype=torch.float32))
