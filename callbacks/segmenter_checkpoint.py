"""The best epoch of a Segmenter: by true masks where the validation images have them, else by pseudo-masks."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

MIOU, PSEUDO = "val/miou", "val/pseudo_miou"


class SegmenterCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint on `val/miou`, or on `val/pseudo_miou` where that is what the validation logs.

    Args:
        **options: of ModelCheckpoint, without `monitor` and `mode`.

    Raises:
        TypeError: `monitor` or `mode` is given.
    """

    def __init__(self, **options: Any) -> None:
        if {"monitor", "mode"} & set(options):
            raise TypeError("SegmenterCheckpoint chooses its metric itself; use ModelCheckpoint for another")
        super().__init__(monitor=MIOU, mode="max", **options)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look which of the two there is, then save as ModelCheckpoint does."""
        self._choose(trainer.callback_metrics)
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same at the end of an epoch."""
        self._choose(trainer.callback_metrics)
        super().on_train_epoch_end(trainer, pl_module)

    def _choose(self, metrics: dict[str, Tensor]) -> None:
        self.monitor = PSEUDO if PSEUDO in metrics and MIOU not in metrics else MIOU
