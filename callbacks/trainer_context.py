"""What the trainer knows about the run: stage, loaders, their data sets, normalisation, strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch.utils.data import ConcatDataset

from hedgeseg.callbacks.phase import first_validation

Normalisation = tuple[Sequence[float], Sequence[float]]


def callbacks(trainer: Trainer) -> list[Callback]:
    """All callbacks of the trainer."""
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def stage(trainer: Trainer) -> str:
    """What the trainer was asked for: `fit`, `validate`, `test` or `predict`."""
    return "fit" if trainer.state.fn is None else str(trainer.state.fn.value)


def logged_step(trainer: Trainer) -> int:
    """The step Lightning logs its validation metrics at: `global_step` is one ahead of it."""
    # A private name of Lightning, so with a fallback: a step off by one is better than no picture.
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


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


def class_names(trainer: Trainer, module: LightningModule, loader: int | None = None) -> tuple[str, ...]:
    """`classes` of the data module, the module, or a data set: the first of them that is a list of names.

    Args:
        trainer: of the run.
        module: the user's.
        loader: the loader whose data they are; its data set comes first where the loaders' data sets differ in their
            names. None for any.
    """
    own = [names_of(dataset) for dataset in datasets(trainer)]
    mine = own if loader is None else own[loader : loader + 1]
    shared = [_listed(_datamodule(trainer)), _listed(module)]
    differ = loader is not None and len({names for names in own if names}) > 1
    return next((names for names in ([*mine, *shared] if differ else [*shared, *mine]) if names), ())


def names_of(dataset: Any) -> tuple[str, ...]:
    """`classes` of a data set, also of one inside `Subset`, `random_split` or `ConcatDataset`; () without any.

    Data sets that are put together may name more or fewer of the same classes, but not one index differently.
    """
    names = _listed(dataset)
    if names:
        return names
    if isinstance(dataset, ConcatDataset):
        parts = [names_of(part) for part in dataset.datasets]
        longest = max(parts, key=len, default=())
        return longest if all(part == longest[: len(part)] for part in parts) else ()
    inner = getattr(dataset, "dataset", None)
    return () if inner is None or inner is dataset else names_of(inner)


def _listed(owner: Any) -> tuple[str, ...]:
    names = getattr(owner, "classes", None)
    if isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names):
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
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    for loader in loaders if isinstance(loaders, Sequence) else [loaders]:
        yield getattr(loader, "dataset", None)


def at_last_batch(trainer: Trainer) -> bool:
    """Whether the batch that has just been evaluated is the last one, of all loaders."""
    loops: dict[str, Any] = {
        "fit": trainer.fit_loop.epoch_loop.val_loop,
        "validate": trainer.validate_loop,
        "test": trainer.test_loop,
        "predict": trainer.predict_loop,
    }
    return bool(loops[stage(trainer)].batch_progress.is_last_batch)


def will_validate(trainer: Trainer) -> bool:
    """Whether the training that begins will come to a validation."""
    batches = trainer.num_val_batches
    if not trainer.enable_validation or sum(batches if isinstance(batches, list) else [batches]) == 0:
        return False
    if trainer.max_steps < 0 or trainer.val_check_batch is None:
        return True
    first = first_validation(trainer.num_training_batches, trainer.val_check_batch, trainer.check_val_every_n_epoch)
    return first <= trainer.max_steps * trainer.accumulate_grad_batches


def refuse_sharded(trainer: Trainer, who: str) -> None:
    """Refuse strategies under which no process holds the network.

    Raises:
        ValueError: names the strategy, the reason and what to do.
    """
    strategy = trainer.strategy
    sharded = isinstance(strategy, FSDPStrategy | ModelParallelStrategy) or (
        isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3
    )
    if sharded:
        raise ValueError(
            f"{who} cannot explain a network under {type(strategy).__name__}: each process holds a part of the "
            f"weights, and processes with different numbers of images would wait for one another for ever. Train with "
            f"strategy='ddp' (DeepSpeed: stage 1 or 2), or leave {who} out and run it on a checkpoint in one process "
            f"(trainer.validate)"
        )
