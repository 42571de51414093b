"""Names of the classes that a network tells apart: kept with its weights, compared with those of the data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def names_in(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """Class names among a checkpoint's hyperparameters; empty if it has none."""
    stored = checkpoint.get("hyper_parameters")
    names = stored.get("classes") if isinstance(stored, Mapping) else None
    return tuple(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else ()


def names_of_weights(weights: str | None) -> tuple[str, ...]:
    """Class names that a file of weights keeps; empty for torchvision's names and bare state dicts."""
    if weights is None or not Path(weights).is_file():
        return ()
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # reading the weights themselves will say what is wrong
        return ()
    return names_in(content) if isinstance(content, Mapping) else ()


def check_same(ours: Sequence[str], theirs: Sequence[str], what: str, whose: str) -> None:
    """Compares two lists of names, where both are known.

    Raises:
        ValueError: they differ, in their order too; the message holds both.
    """
    if ours and theirs and tuple(ours) != tuple(theirs):
        raise ValueError(
            f"{what} of the {len(theirs)} classes {list(theirs)}, {whose} of the {len(ours)} classes {list(ours)}: "
            "they must be the same, in the same order"
        )
