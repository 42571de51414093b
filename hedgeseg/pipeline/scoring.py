"""A folder of masks against true ones: mean IoU, IoU of each class, and what is painted where nothing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hedgeseg.data import LabelledImages
from hedgeseg.data.images import read_mask
from hedgeseg.progress import progress
from hedgeseg.seeds.confusion import ious, miou_interval
from hedgeseg.seeds.formats.files import file_in

PAINTED = 0.01
"""Share of an image without any class above which it counts as painted."""


def score_masks(folder: Path, dataset: LabelledImages) -> dict[str, Any] | None:
    """Scores of the masks of a folder; None where no image has a true mask.

    An image without a class needs no mask file: all of it is background. What a mask leaves void counts as background.

    Args:
        folder: `<id>.png` at the size of the true masks.
        dataset: true masks and labels.

    Returns:
        `miou` with `miou_low` and `miou_high` (95 %, bootstrap over images), `per_class` (name to IoU, None for what
        neither occurs nor is predicted; background first), `images`; and where there are images without a class
        `free_images`, `free_painted` (the share of their pixels that is foreground) and `free_images_painted` (the
        share of them of which more than 1 % is).

    Raises:
        ValueError: a mask of another size than its true one.
    """
    labels = len(dataset.classes) + 1
    counts, painted = [], []
    for index, name in enumerate(progress(dataset.ids, f"scores of {folder.name}", unit="image")):
        path = file_in(folder, name, ".png")
        if not path.is_file():
            continue
        free = not dataset.labels(index)
        truth = dataset.mask(index)
        if truth is None and not free:
            continue
        found = read_mask(path, len(dataset.classes))
        truth = np.zeros_like(found) if truth is None else truth
        if found.shape != truth.shape:
            raise ValueError(f"{path} is {found.shape}, the true mask of {name!r} {truth.shape} pixels")
        if free:
            painted.append(float(((found > 0) & (found != dataset.void)).mean()))
        counts.append(_confusion(found, truth, labels, dataset.void))
    if not any(bool(one[1:].any()) for one in counts):
        return None
    stacked = torch.stack(counts)
    found_ious = ious(stacked.sum(0))
    low, high = miou_interval(stacked)
    names = ("background", *dataset.classes)
    scores: dict[str, Any] = {
        "miou": float(found_ious.nanmean()),
        "miou_low": low,
        "miou_high": high,
        "per_class": {
            name: None if value != value else value for name, value in zip(names, found_ious.tolist(), strict=True)
        },
        "images": len(counts),
    }
    if painted:
        scores["free_images"] = len(painted)
        scores["free_painted"] = float(np.mean(painted))
        scores["free_images_painted"] = float(np.mean(np.array(painted) > PAINTED))
    return scores


def _confusion(found: np.ndarray, truth: np.ndarray, labels: int, void: int) -> torch.Tensor:
    """Pixels by true and predicted label, int64 (L, L + 1); the last column is void."""
    counted = truth != void
    predicted = np.where(found == void, labels, found)[counted].astype(np.int64)
    cells = truth[counted].astype(np.int64) * (labels + 1) + predicted
    return torch.from_numpy(np.bincount(cells, minlength=labels * (labels + 1))).reshape(labels, labels + 1)
