"""Records side by side: one number per map, with its class and its image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.evaluation.journal import Record

CLASS_MEANS = frozenset(
    {
        "pointing_game",
        "pointing_game_difficult",
        "pointing_game_predicted",
        "pointing_game_difficult_predicted",
    }
)
"""Values whose mean is the unweighted mean over classes."""


def value_names(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that any record has, in order of appearance."""
    return list(dict.fromkeys(name for column in columns for name in column))


def value_column(records: Sequence[Record], name: str) -> tuple[Tensor, Tensor, Tensor]:
    """One value of every map (NaN where an image lacks it), its class and its image: three (M,)."""
    column = [v for r in records for v in r.values.get(name, [math.nan] * len(r.classes))]
    classes = [c for r in records for c in r.classes]
    images = [i for i, r in enumerate(records) for _ in r.classes]
    return torch.tensor(column, dtype=torch.float64), torch.tensor(classes), torch.tensor(images)


def pair_column(records: Sequence[Record], name: str) -> tuple[Tensor, Tensor]:
    """One value of every pair of maps, and its image: two (P,)."""
    column = [v for r in records for v in r.pairs.get(name, ())]
    images = [i for i, r in enumerate(records) for _ in r.pairs.get(name, ())]
    return torch.tensor(column, dtype=torch.float64), torch.tensor(images, dtype=torch.int64)
