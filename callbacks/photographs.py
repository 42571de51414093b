"""The photographs and true masks behind the images of a batch, and of a whole prediction, asked of the data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Trainer

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import Example


def photograph(trainer: Trainer, loader: int, example: Example) -> Any:
    """The original photograph of an example, uint8 (H, W, 3), where its loader's data set can give it; else None."""
    found = list(trainer_context.datasets(trainer))
    dataset: Any = found[loader] if loader < len(found) else None
    dataset = _with(dataset, "image")
    if example.index is None or example.size is None or not hasattr(dataset, "image"):
        return None
    names = getattr(dataset, "ids", None)
    if names is not None and (example.index >= len(names) or str(names[example.index]) != example.key):
        return None
    picture = dataset.image(example.index)
    return picture if tuple(picture.shape[:2]) == example.size else None


def photographs(trainer: Trainer, indices: Mapping[str, int]) -> Callable[[str, tuple[int, int]], np.ndarray | None]:
    """The photographs of the images that are predicted, by their ids, where the data have them at the wanted size.

    Images that a resumed run leaves out are found in the data module's whole `predict_dataset`.

    Args:
        trainer: predicts.
        indices: positions of images whose ids the data sets do not tell (`ids`), as the batches gave them.
    """
    places = _places(trainer, indices, "image")

    def photograph(name: str, size: tuple[int, int]) -> np.ndarray | None:
        for source, index in places.get(name, []):
            picture: np.ndarray = source.image(index)
            if tuple(picture.shape[:2]) == size:
                return picture
        return None

    return photograph


def true_masks(
    trainer: Trainer, indices: Mapping[str, int]
) -> Callable[[str, tuple[int, int]], tuple[np.ndarray, int] | None]:
    """The true masks of the images that are predicted, with the id of void, found as photographs are."""
    places = _places(trainer, indices, "mask")

    def true_mask(name: str, size: tuple[int, int]) -> tuple[np.ndarray, int] | None:
        for source, index in places.get(name, []):
            mask = source.mask(index)
            if mask is not None and tuple(mask.shape) == size:
                return mask, int(getattr(source, "void", 255))
        return None

    return true_mask


def _places(trainer: Trainer, indices: Mapping[str, int], what: str) -> dict[str, list[tuple[Any, int]]]:
    """Where the images are, by id: data sets that have `what`, and positions in them."""
    whole = getattr(getattr(trainer, "datamodule", None), "predict_dataset", None)
    sources = [_with(dataset, what) for dataset in (whole, *trainer_context.datasets(trainer))]
    places: dict[str, list[tuple[Any, int]]] = {}
    for source in sources:
        if hasattr(source, what):
            named = getattr(source, "ids", None)
            pairs = indices.items() if named is None else ((name, i) for i, name in enumerate(named))
            for name, index in pairs:
                places.setdefault(name, []).append((source, index))
    return places


def _with(dataset: Any, what: str) -> Any:
    """The data set inside torch's `Subset`, whose samples tell their index in it."""
    while not hasattr(dataset, what) and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return dataset
