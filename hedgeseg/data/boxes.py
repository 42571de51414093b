"""Boxes of objects that are only known by their pixels."""

import numpy as np


def box_around(region: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The tight box of a region as a data set gives boxes: float32 (n, 4) and int64 (n,), n = 0 for an empty region.

    Args:
        region: bool (H, W).
        label: class index of the object.
    """
    rows, columns = np.nonzero(region)
    if not len(rows):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array([box], np.float32), np.array([label], np.int64)
