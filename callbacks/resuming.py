"""A second `predict` over a folder that is half full: what is done is neither decoded nor predicted again."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter


@runtime_checkable
class Resumable(Protocol):
    """A callback that knows which images it is done with."""

    def is_pending(self, identifier: str) -> bool:
        """Whether it still wants this image."""
        ...


def leave_out_done(trainer: Trainer) -> None:
    """Tell the data module to leave out images that every callback is done with, once.

    Nothing is left out where another callback looks at predictions, or the data module cannot leave out. All processes
    leave out the same: what the first of them sees on the disk.
    """
    datamodule: Any = getattr(trainer, "datamodule", None)
    dataset = getattr(datamodule, "predict_dataset", None)
    consumers = [callback for callback in trainer.callbacks if _looks_at_predictions(callback)]  # type: ignore[attr-defined]
    if dataset is None or not hasattr(datamodule, "predict_without"):
        return
    if not all(isinstance(callback, Resumable) for callback in consumers):
        return
    done = [name for name in dataset.ids if not any(callback.is_pending(name) for callback in consumers)]
    datamodule.predict_without = frozenset(trainer.strategy.broadcast(done))


def _looks_at_predictions(callback: Callback) -> bool:
    if isinstance(callback, BasePredictionWriter):
        return True
    if type(callback).__module__.startswith(("lightning.", "hedgeseg.")):  # progress bars, monitors, panels
        return False
    return type(callback).on_predict_batch_end is not Callback.on_predict_batch_end
