"""A callback whose metrics others may follow: they see values of the last validation only, never older ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.followers import Followers


class FreshValues(Callback):
    """Keeps `Followers` informed over a fit: the hooks between two validations.

    ModelCheckpoint and EarlyStopping look at the end of a validation or of a training epoch, schedulers after both.
    Until then names without a fresh value are withheld; when training goes on, the last values are back.

    Args:
        prefix: first part of the names of all metrics.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.followers = Followers(prefix, ())
        self._fresh: set[str] = set()

    def follow(self, trainer: Trainer, never: Collection[str]) -> None:
        """Begin a fit.

        Args:
            trainer: of the fit.
            never: metrics that will not be logged.

        Raises:
            ValueError: something follows a name that will never have a value.
        """
        self.followers, self._fresh = Followers(self.prefix, trainer_context.callbacks(trainer), never), set()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have EarlyStopping and schedulers that follow our metrics wait for values."""
        if pl_module.automatic_optimization:  # else the module steps them itself, by values it takes where it likes
            self.followers.add_schedulers(trainer.lr_scheduler_configs)
        self.followers.relax()

    def outdate(self, trainer: Trainer) -> None:
        """What has been logged so far is no news any more."""
        self.put_back(trainer)
        self._fresh = set()

    def refresh(self, names: Collection[str], suffixes: Collection[str]) -> None:
        """These have been logged now, with these endings; those that follow others are told once what they wait for."""
        self._fresh = set(names)
        self.tell_missing(names, suffixes)

    def tell_missing(self, present: Collection[str], suffixes: Collection[str] = ()) -> None:
        """Tell once of each followed name that is not among these what it waits for."""
        for text in self.followers.missing(present, suffixes):
            rank_zero_warn(f"{type(self).__name__}: {text}")

    def withhold(self, trainer: Trainer) -> None:
        """Keep values that are not fresh from what follows them."""
        if self.followers.names and trainer_context.stage(trainer) == "fit" and not trainer.sanity_checking:
            self.followers.withhold(trainer.callback_metrics, self._fresh)

    def put_back(self, trainer: Trainer) -> None:
        """Leave the last values to be read."""
        if self.followers.withholding:
            self.followers.put_back(trainer.callback_metrics)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What was seen in the last epoch is no news in this one."""
        self.outdate(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """All that follow our metrics have had their check."""
        self.put_back(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What follows our metrics at the end of an epoch sees no value of an earlier one."""
        self.withhold(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the last values to be read."""
        self.put_back(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave other callbacks as they were."""
        self.put_back(trainer)
        self.followers.release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave other callbacks as they were."""
        self.put_back(trainer)
        self.followers.release()
