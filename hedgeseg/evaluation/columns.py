"""Records side by side: one number per map, with its class and its image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.evaluation.journal import Record


def value_names(columns: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that any record has, in order of appearance."""
    return list(dict.fromkeys(name for column in columns for name in column))


def value_columns(records: Sequence[Record]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Each value of every map (NaN where an image lacks it), float64 (M,) by name; each map's class, and its image."""
    columns = {
        name: torch.tensor(
            [v for r in records for v in r.values.get(name, [math.nan] * len(r.classes))], dtype=torch.float64
        )
        for name in value_names(record.values for record in records)
    }
    classes = torch.tensor([c for r in records for c in r.classes], dtype=torch.int64)
    return columns, classes, torch.tensor([i for i, r in enumerate(records) for _ in r.classes], dtype=torch.int64)


def pair_column(records: Sequence[Record], name: str) -> tuple[Tensor, Tensor]:
    """One value of every pair of maps, and its image: two (P,)."""
    column = [v for r in records for v in r.pairs.get(name, ())]
    images = [i for i, r in enumerate(records) for _ in r.pairs.get(name, ())]
    return torch.tensor(column, dtype=torch.float64), torch.tensor(images, dtype=torch.int64)
