"""One bar per stage of a trainer, with the time left of the whole stage instead of an epoch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from hedgeseg.progress import progress


class StageBar(ProgressBar):
    """Counts the batches of all epochs, of an evaluation or of a prediction, with the last epoch's numbers.

    Where no terminal is, a plain line is written now and then, see `hedgeseg.progress`.

    Args:
        name: of the stage; None says what the trainer was asked for.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.bar: Any = None

    def disable(self) -> None:
        """Nothing to switch off: the processes beside the first one have no bar."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where a resumed training is."""
        batches = trainer.num_training_batches
        endless = batches == float("inf") or (trainer.max_epochs or -1) < 0
        total = None if endless else int(batches) * int(trainer.max_epochs or 1)
        if trainer.max_steps >= 0:
            total = min(trainer.max_steps * trainer.accumulate_grad_batches, total or 2**62)
        self._open("fit", total, 0 if endless else int(batches) * trainer.current_epoch)

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
        self._close()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open a bar, unless this is a part of a training."""
        if trainer.state.fn == "validate":
            self._open("validate", _total(trainer.num_val_batches))

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """One batch more."""
        if trainer.state.fn == "validate":
            self.bar.update(1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close it."""
        if trainer.state.fn == "validate":
            self._close()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open("test", _total(trainer.num_test_batches))

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """One batch more."""
        self.bar.update(1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close it."""
        self._close()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open("predict", _total(trainer.num_predict_batches))

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """One batch more."""
        self.bar.update(1)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close it."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close it, so that the error begins on a line of its own."""
        self._close()

    def _open(self, what: str, total: int | None, done: int = 0) -> None:
        name = what if self.name is None else self.name
        hidden = not self.trainer.is_global_zero
        self.bar = progress((), name, total=total, unit="batch", initial=done, disable=hidden)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _total(batches: int | float | list[int | float]) -> int | None:
    count = sum(batches) if isinstance(batches, list) else batches
    return None if count == float("inf") else int(count)
