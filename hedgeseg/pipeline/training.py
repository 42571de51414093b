"""Training that can be killed at any moment and, resumed, ends with the same weights to the last bit.

What is drawn depends on seed, epoch and step alone, and every epoch ends with a checkpoint that replaces the last one
whole: what a resumed run repeats of an interrupted epoch is what the interrupted run did.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger

from hedgeseg.callbacks.stage_bar import StageBar
from hedgeseg.pipeline.repeatable import StepSeed
from hedgeseg.seeds.formats.files import replacing

LAST = "last.ckpt"
WEIGHTS = "weights.ckpt"


class EpochCheckpoint(Checkpoint):
    """After every epoch the whole state, and the weights that are best so far, each written whole or not at all.

    Args:
        folder: where `last.ckpt` and `weights.ckpt` are written.
        monitor: metric whose largest value is best; None takes the last epoch.
    """

    def __init__(self, folder: Path, monitor: str | None) -> None:
        super().__init__()
        self.folder = folder
        self.monitor = monitor
        self.best = float("-inf")
        self.best_epoch = -1
        self.metrics: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """Value and epoch of the best weights, and the last metrics."""
        return {"best": self.best, "best_epoch": self.best_epoch, "metrics": self.metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Read them back."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.metrics = state_dict["metrics"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        self.metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        value = None if self.monitor is None else self.metrics.get(self.monitor)
        now = float("-inf") if value is None else value
        # Without a number the last epoch is the best one; of equal ones the later.
        if now >= self.best or value is None:
            self.best, self.best_epoch = now, trainer.current_epoch
            self._save(trainer, WEIGHTS, weights_only=True)
        self._save(trainer, LAST)

    def _save(self, trainer: Trainer, name: str, weights_only: bool = False) -> None:
        with replacing(self.folder / name) as temporary:
            trainer.save_checkpoint(temporary, weights_only=weights_only)


def fit(
    module: LightningModule,
    data: LightningDataModule,
    folder: Path,
    *,
    epochs: int,
    seed: int,
    name: str,
    monitor: str | None = None,
    check_every: int = 1,
    accelerator: str = "auto",
    logger: Logger | None = None,
    progress: bool = True,
    precision: Any = None,
) -> dict[str, float]:
    """Train, or go on where a killed run was.

    Args:
        module: made from the same seed every time.
        data: to learn from and to watch.
        folder: of the checkpoints; `weights.ckpt` holds the result.
        epochs: to train.
        seed: of the network's draws; order and augmentation are the data's.
        name: of the stage, for the bar.
        monitor: metric to choose the epoch by; None takes the last one.
        check_every: validate after every so many epochs, and after the last one.
        accelerator: as Lightning's Trainer takes it.
        logger: of the metrics.
        progress: show a bar over all epochs, with the time left.
        precision: as Lightning's Trainer takes it.

    Returns:
        The metrics of the last epoch, `epoch` and, with `monitor`, `best`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keeper = EpochCheckpoint(folder, monitor)
    callbacks: list[Callback] = [StepSeed(seed), keeper, *([StageBar(name)] if progress else [])]
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=epochs,
        precision=precision,
        check_val_every_n_epoch=min(check_every, epochs),
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=logger or False,
        enable_checkpointing=True,
        enable_model_summary=False,
        enable_progress_bar=progress,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )
    seed_everything(seed, verbose=False)
    # a step of a convolutional network takes up to half less on a processor; the weights are the same numbers
    module.to(memory_format=torch.channels_last)
    last = folder / LAST
    trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.is_file() else None, weights_only=False)
    return {**keeper.metrics, "epoch": float(keeper.best_epoch + 1), **({"best": keeper.best} if monitor else {})}
