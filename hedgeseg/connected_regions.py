"""Connected regions of a binary picture, for maps and masks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

Slices = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class ConnectedRegions:
    """The regions of one picture, in the raster order of their first pixels.

    Attributes:
        numbers: int32 (H, W): 0 outside, else 1 + the region's place.
        boxes: int64 (n, 4), x0 y0 x1 y1 in pixels; the far edges lie behind the last pixel.
        areas: int64 (n,), in pixels.
    """

    numbers: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def window(self, place: int) -> Slices:
        """Rows and columns of a region's box."""
        x0, y0, x1, y1 = self.boxes[place].tolist()
        return slice(y0, y1), slice(x0, x1)

    def part(self, place: int) -> np.ndarray:
        """Which pixels of its window a region takes up, bool (h, w)."""
        return np.asarray(self.numbers[self.window(place)] == place + 1)


def connected_regions(inside: np.ndarray, neighbours: Literal[4, 8] = 8) -> ConnectedRegions:
    """Find the connected regions of a picture.

    Args:
        inside: bool (H, W).
        neighbours: of a pixel that belong to its region: 8, or 4 without the diagonal ones.
    """
    count, numbers, table, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=neighbours)
    # OpenCV scans blocks of pixels: the order of what begins in one row of blocks is its own.
    first = np.zeros(count, np.int64)
    first[numbers.ravel()[::-1]] = np.arange(numbers.size)[::-1]
    order = 1 + np.argsort(first[1:], kind="stable")
    place = np.zeros(count, np.int32)
    place[order] = np.arange(1, count)
    corners = table[order, :4].astype(np.int64)
    corners[:, 2:] += corners[:, :2]
    return ConnectedRegions(place[numbers], corners, table[order, cv2.CC_STAT_AREA].astype(np.int64))
