"""Masks as layers over a picture, for loggers that draw them: ids in eight bits, and a first seed of maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED_LEVEL = 0.15
"""Share of a map's maximum above which an interactive overlay counts a pixel to the class: the seeds' background."""


def byte_ids(mask: np.ndarray, void: int) -> np.ndarray:
    """A mask in the eight bits that can be drawn, 255 void: ids beyond 254 become background."""
    return np.where(mask == void, 255, np.where(mask < 255, mask, 0)).astype(np.uint8)


def relevant_pixels(maps: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Ids of the class whose relevance is strongest relative to its maximum: a first seed, uint8 `(H, W)`.

    Args:
        maps: `(T, H, W)` signed.
        classes: class index of each map.
    """
    positive = np.maximum(maps, 0)
    scaled = positive / np.maximum(positive.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    ids = np.asarray(classes)[scaled.argmax(axis=0)] + 1
    return np.where((scaled.max(axis=0) > SEED_LEVEL) & (ids < 255), ids, 0).astype(np.uint8)
