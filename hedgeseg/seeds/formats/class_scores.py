"""What score files hold: maps and the classes they are of, without a mask."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor


class ClassScores(NamedTuple):
    """Scores read from a file.

    Attributes:
        scores: float32 (K, H, W).
        classes: int64 (K,), without background.
    """

    scores: np.ndarray
    classes: np.ndarray


class HasScores(Protocol):
    """Anything with scores (K, H, W) and classes (K,), such as a `Seed`."""

    @property
    def scores(self) -> Tensor:
        """Float (K, H, W) in [0, 1]."""

    @property
    def classes(self) -> Tensor:
        """Int (K,)."""


def arrays(seed: HasScores) -> ClassScores:
    """Scores and classes of a seed as arrays of the documented types."""
    return ClassScores(np.asarray(seed.scores, dtype=np.float32), np.asarray(seed.classes, dtype=np.int64))


def checked(identifier: str, scores: Any, classes: Any) -> ClassScores:
    """Maps and classes of another tool's file as arrays of the documented types.

    Raises:
        ValueError: they are no numbers, or do not fit each other.
    """
    try:
        maps, indices = np.asarray(scores, np.float32), np.asarray(classes, np.int64).reshape(-1)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{identifier}: maps or keys are no numbers: {error}") from error
    if maps.ndim != 3 or len(maps) != len(indices):
        raise ValueError(f"{identifier}: {len(indices)} keys for maps of shape {maps.shape}, expected (K, H, W)")
    return ClassScores(maps, indices)
