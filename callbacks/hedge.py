"""HedgeCallback: watch what a classifier looks at while it trains.

    Trainer(callbacks=[HedgeCallback()], logger=WandbLogger(offline=True))

At the end of a validation the same few images are explained, drawn and scored: right after its last batch, while the
weights that were validated are in place. Training is bit for bit what it would be without the callback: the engine
puts back everything it touches on the model and the random generators.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import Batch, BatchAdapter
from hedgeseg.callbacks.budget import TimeBudget
from hedgeseg.callbacks.error_policy import ErrorPolicy
from hedgeseg.callbacks.explanations import Explainer, Target, checked_options
from hedgeseg.callbacks.followers import NEEDS
from hedgeseg.callbacks.freshness import FreshValues
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.observers import unobserved
from hedgeseg.callbacks.phase import Phase
from hedgeseg.callbacks.sanity import NAMES as SANITY_NAMES
from hedgeseg.callbacks.sanity import sanity
from hedgeseg.callbacks.scores import numbers
from hedgeseg.callbacks.showing import Showing
from hedgeseg.callbacks.stage_monitor import Findings, StageMonitor


class HedgeCallback(FreshValues):
    """Explains the same images at every validation and logs images and metrics under `prefix`.

    Metrics, usable in `ModelCheckpoint(monitor=...)`; with several loaders their names end in `/dataloader_idx_<i>`:

    | name                         | what it is                                                             |
    |------------------------------|------------------------------------------------------------------------|
    | `hedge/pointing_game`        | share of maps whose strongest pixel is on the object (masks or boxes)  |
    | `hedge/outside_inside`       | mean relevance off the object over that on it, Eq. 14 (masks or boxes) |
    | `hedge/positive_ratio`       | share of pixels with positive relevance                                |
    | `hedge/drift`                | 1 - Spearman correlation with the map of the look before               |
    | `hedge/class_discrimination` | 1 - Spearman correlation between the maps of an image's classes        |
    | `hedge/sanity_spearman`      | correlation with the maps of a randomised copy: near 0 is good         |
    | `hedge/sanity_efficient_mprt`| rise of the maps' entropy in that copy: above 0 is good                |
    | `hedge/images`               | how many images these are means over, always the same ones             |

    Args:
        every_n_epochs: look at the first validation of a fit, and at those at the end of every n-th epoch, counted from
            one as Lightning does; validate, test and predict always look.
        max_images: images watched per loader and process.
        method: a name of `hedgeseg.attribution.METHODS`.
        gamma: of method `hedge`.
        layer: where the initial map is taken; None lets the engine choose.
        target: `"label"`, `"predicted"`, a class index or a list of them.
        metrics: whether to compute and log metrics.
        sanity_every_n_epochs: also run the randomisation sanity check at the first look and at those in every n-th
            epoch; None never.
        prefix: first part of all names.
        dataloader_idx: the only loader to watch; None watches all.
        on_error: `"warn"` warns once per cause and lets the training go on; `"raise"` stops it.
        method_options: further options of `hedgeseg.attribution.attribute`: chunk, output, the method's own.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, ...
        network: dotted path of the network in the LightningModule, if it cannot be found.
        class_names: by index; the data module's or data set's `classes` without it.
        normalisation: (mean, std) per channel, to draw images in their colours; the data module's without it.
        max_fraction: share of the training time that looking may take, beside five seconds at the start. The first look
            settles how many images fit, one at least; later looks are at all of these, or put off.
        max_seconds_per_epoch: seconds per look; the first look settles how many images fit.
        animation: write a GIF per watched image at the end of a fit.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        max_images: int = 8,
        method: str = "hedge",
        gamma: float = 1.0,
        layer: str | None = None,
        target: Target = "label",
        metrics: bool = True,
        sanity_every_n_epochs: int | None = None,
        prefix: str = "hedge",
        dataloader_idx: int | None = None,
        on_error: Literal["warn", "raise"] = "warn",
        *,
        method_options: dict[str, Any] | None = None,
        batch_adapter: BatchAdapter | None = None,
        network: str | None = None,
        class_names: Sequence[str] | None = None,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
        max_fraction: float | None = 0.02,
        max_seconds_per_epoch: float | None = None,
        animation: bool = False,
    ) -> None:
        counts = {
            "every_n_epochs": every_n_epochs,
            "max_images": max_images,
            "sanity_every_n_epochs": sanity_every_n_epochs,
        }
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        super().__init__(prefix.strip("/"))
        self.every_n_epochs = every_n_epochs
        self.max_images = max_images
        self.metrics = metrics
        self.sanity_every_n_epochs = sanity_every_n_epochs
        self.dataloader_idx = dataloader_idx
        self._errors = ErrorPolicy(on_error)
        self.batch_adapter = batch_adapter
        self.network = network
        self.animation = animation
        self.explainer = Explainer(method, target, checked_options(method, gamma, layer, method_options))
        self.budget = TimeBudget(max_fraction, max_seconds_per_epoch)
        self._showing = Showing(self.prefix, None if class_names is None else tuple(class_names), normalisation)
        self._monitors = {"fit": self._watch()}
        self._phase = Phase(every_n_epochs, sanity_every_n_epochs)
        self._looking = False
        self._found: Findings | None = None
        self._sanity: dict[str, dict[str, list[float]]] = {}

    @property
    def state_key(self) -> str:
        """Tells several of these callbacks apart in a checkpoint."""
        return self._generate_state_key(
            method=self.explainer.method, prefix=self.prefix, dataloader_idx=self.dataloader_idx
        )

    # Before a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot work, and begin anew: another run may have other data.

        A checkpoint is restored after this.

        Raises:
            ValueError: a sharded strategy, intervals that never meet, another of these callbacks with the same prefix,
                or a monitored name that will never have a value.
        """
        trainer_context.refuse_sharded(trainer, "HedgeCallback")
        others = [c for c in trainer_context.callbacks(trainer) if isinstance(c, HedgeCallback) and c is not self]
        if any(other.prefix == self.prefix for other in others):
            raise ValueError(f"two HedgeCallbacks log under prefix={self.prefix!r}; give each a prefix of its own")
        self._monitors[stage] = self._watch()
        self.explainer.forget()
        if stage == "fit":
            self._phase = Phase(self.every_n_epochs, self.sanity_every_n_epochs)
            if not getattr(trainer, "fast_dev_run", False):
                self._phase.check(trainer.check_val_every_n_epoch, trainer.max_epochs)
            self.follow(trainer, self._never_logged())
            self._showing.begin_fit()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the time budget, and say what is amiss."""
        self.budget.restart()
        before = self._showing.begin_run(trainer)
        if before is not None:
            rank_zero_warn(
                f"HedgeCallback: the checkpoint logged to the Weights & Biases run {before!r}, this is a new one; "
                f"to go on with it use WandbLogger(id={before!r}, resume='allow')"
            )
        if not trainer_context.will_validate(trainer):
            rank_zero_warn("HedgeCallback: this training has no validation, so there is nothing to look at")
        if self._phase.looked and self.followers.names:
            rank_zero_warn(
                f"HedgeCallback: {', '.join(self.followers.names)} will have no value before the next look of the "
                f"resumed training; what follows them waits"
            )

    # A validation

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide whether to look at this validation."""
        self._found, self._sanity = None, {}
        self._looking = self._due(trainer)
        if trainer_context.stage(trainer) == "fit":
            self.outdate(trainer)

    on_test_start = on_predict_start = on_validation_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Pick the images to watch; after the last batch, explain them.

        Not later: callbacks that average weights put the others back at the end of the epoch.
        """
        if self._looking:
            if self.dataloader_idx in (None, dataloader_idx):
                self._monitors[trainer_context.stage(trainer)].pick(batch, str(batch_idx), dataloader_idx)
            if trainer_context.at_last_batch(trainer):
                self._explain(trainer, pl_module)
        elif trainer.sanity_checking and batch_idx == 0 and self.followers.names:
            with self._errors("reading a batch"):
                if not Batch(batch, "", self.batch_adapter).located:
                    self.tell_missing([name for name in self.followers.names if not self.followers.needs_place(name)])

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and show what was found."""
        if self._looking:
            if self._found is None:  # a loader that does not know its last batch
                self._explain(trainer, pl_module)
            self._report(trainer, pl_module)
        self.withhold(trainer)

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Join the panels of all epochs to animations."""
        if self.animation and trainer.is_global_zero:
            with self._errors("animating the panels"):
                self._showing.animate(trainer)

    # What a checkpoint keeps

    def state_dict(self) -> dict[str, Any]:
        """Which images are watched, their last maps, the panels so far: plain types and tensors."""
        return {"looked": self._phase.looked, **self._monitors["fit"].state_dict(), **self._showing.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the same images."""
        self._phase.looked = state_dict.get("looked", True)
        self._monitors["fit"].load_state_dict(state_dict)
        self._showing.load_state_dict(state_dict)

    # One look

    def _never_logged(self) -> Collection[str]:
        if not self.metrics:
            return NEEDS
        return SANITY_NAMES if self.sanity_every_n_epochs is None else ()

    def _watch(self) -> StageMonitor:
        return StageMonitor(self.max_images, self.explainer, self._errors, self.batch_adapter)

    def _due(self, trainer: Trainer) -> bool:
        if trainer.sanity_checking:
            return False
        if trainer_context.stage(trainer) != "fit" or not self._phase.looked:
            return True
        if not self._phase.look_due(trainer.current_epoch):
            return False
        if trainer.strategy.reduce_boolean_decision(self.budget.affords()):
            return True
        self._errors.tell(
            "put off",
            f"the look in epoch {trainer.current_epoch} is put off, as later ones will be: looking at all watched "
            f"images takes {self.budget.price or 0:.2g} s, more than max_fraction of the training allows so far; take "
            f"a larger max_fraction, None, or fewer max_images",
        )
        return False

    def _explain(self, trainer: Trainer, module: LightningModule) -> None:
        """Explain and score the watched images of every loader; what is found before an error is kept."""
        stage = trainer_context.stage(trainer)
        monitor, suffixes = self._monitors[stage], trainer_context.suffixes(trainer, self.dataloader_idx)
        self._found = {suffix: [] for suffix in suffixes.values()}
        if max(suffixes) >= trainer_context.loader_count(trainer):
            self._errors.tell(
                "no loader",
                f"dataloader_idx={max(suffixes)}, but there are {trainer_context.loader_count(trainer)} loaders",
            )
        if self.metrics and self._sanity_due(trainer):  # the same names on every process, whatever fails on this one
            self._sanity = {suffix: {name: [] for name in SANITY_NAMES} for suffix in self._found}
        with torch.inference_mode(False), torch.no_grad():
            self.budget.open(stage == "fit", monitor.watchlist.settled)
            with self.budget.spending(), self._errors("explaining the images"):
                network = find_network(module, self.network)
                with unobserved(network), trainer.precision_plugin.forward_context():
                    monitor.explain(network, suffixes, module.device, self.budget, self._found)
                    if self._sanity:
                        self._check_sanity(network, module.device)

    def _check_sanity(self, network: nn.Module, device: torch.device) -> None:
        assert self._found is not None
        for suffix, found in self._found.items():
            with self._errors("the sanity check"):
                self._sanity[suffix] = sanity(network, self.explainer, found, device)

    def _sanity_due(self, trainer: Trainer) -> bool:
        if trainer_context.stage(trainer) != "fit":
            return self.sanity_every_n_epochs is not None
        return self._phase.sanity_due(trainer.current_epoch)

    def _report(self, trainer: Trainer, module: LightningModule) -> None:
        assert self._found is not None
        fitting = trainer_context.stage(trainer) == "fit"
        with torch.inference_mode(False), torch.no_grad():
            suffixes = trainer_context.suffixes(trainer, self.dataloader_idx)
            with self.budget.spending():
                monitor = self._monitors[trainer_context.stage(trainer)]
                complete = monitor.settle(suffixes, self._found, trainer.strategy)
                logged = self._log(trainer, module) if self.metrics and complete else {}
                # Every process asks for the folder, because Lightning broadcasts it.
                root = Path(trainer.log_dir or trainer.default_root_dir)
                if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
                    with self._errors("showing the panels"):
                        self._showing.show(trainer, module, root, suffixes, self._found, logged)
            self.budget.close(fitting)
        if fitting:
            self._phase.looked = True
            self.refresh(logged, suffixes.values())

    def _log(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        assert self._found is not None
        logged = {}
        for suffix, found in self._found.items():
            for name, value in numbers(found, trainer.strategy, self._sanity.get(suffix)).items():
                logged[f"{self.prefix}/{name}{suffix}"] = value
        if trainer.state.fn != "predict":  # where Lightning logs nothing
            for name, value in logged.items():
                module.log(name, value, batch_size=1, sync_dist=trainer.world_size > 1, add_dataloader_idx=False)
        return logged
