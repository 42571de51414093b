"""One bar per stage, with the time left of the whole stage instead of an epoch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm


class StageBar(ProgressBar):
    """Counts the images of all epochs, or of the prediction.

    Args:
        name: of the stage.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.bar: Any = None

    def disable(self) -> None:
        """Nothing to switch off: the processes beside the first one have no bar."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where a resumed training is."""
        batches = int(trainer.num_training_batches)
        total, done = batches * int(trainer.max_epochs or 1), batches * trainer.current_epoch
        self.bar = tqdm(total=total, initial=done, desc=self.name, unit="batch", dynamic_ncols=True, mininterval=1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One batch more."""
        self.bar.update(1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the numbers of the epoch."""
        numbers = {key: f"{float(value):.3f}" for key, value in trainer.progress_bar_metrics.items()}
        self.bar.set_postfix({"epoch": trainer.current_epoch + 1, **numbers}, refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close it."""
        self.bar.close()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        batches = trainer.num_predict_batches
        total = int(sum(batches)) if isinstance(batches, list) else int(batches)
        self.bar = tqdm(total=total, desc=self.name, unit="batch", dynamic_ncols=True, mininterval=1)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """One batch more."""
        self.bar.update(1)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close it."""
        self.bar.close()
