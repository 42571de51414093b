"""How many pixels each label covers in the masks of a data set."""

import numpy as np
import torch

from hedgeseg.data.dataset import LabelledImages


def label_counts(dataset: LabelledImages, limit: int = 2000) -> torch.Tensor:
    """Pixels of background and of each class, int64 (1 + K,), each image counted as one: its shares times 10^6.

    Void is left out. Of a larger data set `limit` images are read, evenly spread.

    Args:
        dataset: images with masks; those without one are passed over.
        limit: largest number of masks to read.
    """
    labels = len(dataset.classes) + 1
    counts = np.zeros(labels, np.int64)
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).round().astype(int)).tolist():
        mask = dataset.mask(index)
        if mask is None:
            continue
        found = np.bincount(mask[mask != dataset.void].ravel(), minlength=labels)[:labels]
        counts += (found * (10**6 / max(1, mask.size))).astype(np.int64)
    return torch.from_numpy(counts)
