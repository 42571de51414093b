"""Places of a small map at which most of the evidence is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PLACES = 3
"""How many places of an image are looked at."""

NEAR = 2
"""Cells around a place, in both directions, that belong to it: a tenth of the side, or a seventh."""


def strongest(grid: npt.NDArray[np.float16], count: int = PLACES) -> npt.NDArray[np.int64]:
    """The strongest cells, each found after the neighbourhood of the ones before was cleared.

    Args:
        grid: a map (h, w).
        count: how many, at most.

    Returns:
        Flat indices, the strongest first; only cells with positive relevance.
    """
    left = np.array(grid, np.float32)
    width = left.shape[1]
    found: list[int] = []
    while len(found) < count and left.max() > 0:
        place = int(left.argmax())
        row, column = divmod(place, width)
        found.append(place)
        left[max(0, row - NEAR) : row + NEAR + 1, max(0, column - NEAR) : column + NEAR + 1] = 0
    return np.array(found, np.int64)


def is_near(first: int, second: int, width: int) -> bool:
    """Whether two cells of a map of this width are one place."""
    (row, column), (other_row, other_column) = divmod(first, width), divmod(second, width)
    return max(abs(row - other_row), abs(column - other_column)) <= NEAR
