"""The photograph behind an image of a batch, asked of the data set that its own loader reads."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from hedgeseg.callbacks import surroundings
from hedgeseg.callbacks.batches import Example


def photograph(trainer: Trainer, loader: int, example: Example) -> Any:
    """The original photograph of an example, uint8 (H, W, 3), where its loader's data set can give it; else None."""
    found = list(surroundings.datasets(trainer))
    dataset: Any = found[loader] if loader < len(found) else None
    while not hasattr(dataset, "image") and hasattr(dataset, "dataset"):  # torch's Subset: the index is that inside
        dataset = dataset.dataset
    if example.index is None or example.size is None or not hasattr(dataset, "image"):
        return None
    names = getattr(dataset, "ids", None)
    if names is not None and (example.index >= len(names) or str(names[example.index]) != example.key):
        return None
    picture = dataset.image(example.index)
    return picture if tuple(picture.shape[:2]) == example.size else None
