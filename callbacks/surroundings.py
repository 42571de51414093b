"""What the trainer knows about the data it runs on: loaders, class names, normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer

Normalisation = tuple[Sequence[float], Sequence[float]]


def stage(trainer: Trainer) -> str:
    """What the trainer was asked for: `fit`, `validate`, `test` or `predict`."""
    return "fit" if trainer.state.fn is None else str(trainer.state.fn.value)


def loader_count(trainer: Trainer) -> int:
    """Number of loaders of the stage that runs."""
    batches = {
        "fit": trainer.num_val_batches,
        "validate": trainer.num_val_batches,
        "test": trainer.num_test_batches,
        "predict": trainer.num_predict_batches,
    }
    count = batches[stage(trainer)]
    return len(count) if isinstance(count, list) else 1


def suffixes(trainer: Trainer, dataloader_idx: int | None) -> dict[int, str]:
    """The loaders to watch, and what their names end in: with several, Lightning's own `/dataloader_idx_<i>`."""
    if dataloader_idx is not None:
        return {dataloader_idx: ""}
    count = loader_count(trainer)
    return {0: ""} if count == 1 else {loader: f"/dataloader_idx_{loader}" for loader in range(count)}


def class_names(trainer: Trainer, module: LightningModule) -> tuple[str, ...]:
    """`classes` of the data module, the module, or the data set: the first of them that is a list of names."""
    for owner in (_datamodule(trainer), module, *datasets(trainer)):
        names = getattr(owner, "classes", None)
        if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def normalisation(trainer: Trainer) -> Normalisation | None:
    """`mean` and `std` of the data module, if it has them."""
    datamodule = _datamodule(trainer)
    mean, std = getattr(datamodule, "mean", None), getattr(datamodule, "std", None)
    return None if mean is None or std is None else (mean, std)


def _datamodule(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)


def datasets(trainer: Trainer) -> Iterator[Any]:
    """The data sets of the stage that runs, one per loader."""
    loaders = {
        "fit": trainer.val_dataloaders,
        "validate": trainer.val_dataloaders,
        "test": trainer.test_dataloaders,
        "predict": trainer.predict_dataloaders,
    }[stage(trainer)]
    for loader in loaders if isinstance(loaders, Sequence) else [loaders]:
        yield getattr(loader, "dataset", None)
