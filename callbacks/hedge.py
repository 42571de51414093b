"""HedgeCallback: watch what a classifier looks at while it trains.

    Trainer(callbacks=[HedgeCallback()], logger=WandbLogger(offline=True))

At the end of a validation epoch the same few images are explained, drawn and scored. Training is bit for bit what it
would be without the callback: the engine puts back everything it touches on the model and the random generators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT

from hedgeseg.attribution import METHODS
from hedgeseg.callbacks import surroundings
from hedgeseg.callbacks.batches import BatchAdapter, read_batch
from hedgeseg.callbacks.budget import TimeBudget
from hedgeseg.callbacks.drawing import draw_panels
from hedgeseg.callbacks.explanations import Explainer, Target, explain_in_time
from hedgeseg.callbacks.files import Files, write_animations
from hedgeseg.callbacks.look import ClassNames, Look
from hedgeseg.callbacks.memory import Memory
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.panels import Place, logged_step, places, wandb_run_id
from hedgeseg.callbacks.sanity import NAMES as SANITY_NAMES
from hedgeseg.callbacks.sanity import sanity
from hedgeseg.callbacks.scores import Finding, find, numbers
from hedgeseg.callbacks.tolerance import Tolerance
from hedgeseg.callbacks.watchlist import Watchlist

Findings = dict[str, list[Finding]]
"""What was found, by the suffix of the loader's names."""


class HedgeCallback(Callback):
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
    | `hedge/images`               | how many images fitted the time budget                                 |

    Args:
        every_n_epochs: look at the validations of every n-th epoch of a fit, the first included; validate, test and
            predict always look.
        max_images: images watched per loader and process.
        method: a name of `hedgeseg.attribution.METHODS`.
        gamma: of method `hedge`.
        layer: where the initial map is taken; None lets the engine choose.
        target: `"label"`, `"predicted"`, a class index or a list of them.
        metrics: whether to compute and log metrics.
        sanity_every_n_epochs: also run the randomisation sanity check every n-th epoch; None never.
        prefix: first part of all names.
        dataloader_idx: the only loader to watch; None watches all.
        on_error: `"warn"` warns once per cause and lets the training go on; `"raise"` stops it.
        method_options: further options of `hedgeseg.attribution.attribute`: chunk, output, the method's own.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, ...
        network: dotted path of the network in the LightningModule, if it cannot be found.
        class_names: by index; the data module's or data set's `classes` without it.
        normalisation: (mean, std) per channel, to draw images in their colours; the data module's without it.
        max_fraction: share of the training time that looking may take; one image is looked at in any case, and all of
            them in the first five seconds of a training.
        max_seconds_per_epoch: the same in seconds per look.
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
        self.every_n_epochs = every_n_epochs
        self.max_images = max_images
        self.metrics = metrics
        self.sanity_every_n_epochs = sanity_every_n_epochs
        self.prefix = prefix.strip("/")
        self.dataloader_idx = dataloader_idx
        self._tolerating = Tolerance(on_error)
        self.batch_adapter = batch_adapter
        self.network = network
        self.class_names = class_names
        self.normalisation = normalisation
        self.animation = animation
        self.explainer = Explainer(method, target, _options(method, gamma, layer, method_options))
        self.budget = TimeBudget(max_fraction, max_seconds_per_epoch)
        self._watchlists = {"fit": Watchlist(max_images)}
        self._memory = Memory()
        self._frames: dict[str, list[Path]] = {}
        self._folder = Path()
        self._run_id: str | None = None
        self._places: list[Place] = []
        self._shown_by: tuple[list[Logger], Path] | None = None

    @property
    def state_key(self) -> str:
        """Tells several of these callbacks apart in a checkpoint."""
        return self._generate_state_key(
            method=self.explainer.method, prefix=self.prefix, dataloader_idx=self.dataloader_idx
        )

    # When to look

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew: another run may have other data. A checkpoint is restored after this."""
        self._watchlists[stage] = Watchlist(self.max_images)
        if stage == "fit":
            self._memory, self._frames, self._run_id, self._shown_by = Memory(), {}, None, None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the time budget; a resumed run should log to the run it goes on with."""
        self.budget.restart()
        before, self._run_id = self._run_id, wandb_run_id(trainer.loggers)
        if before is not None and self._run_id is not None and before != self._run_id:
            rank_zero_warn(
                f"HedgeCallback: the checkpoint logged to the Weights & Biases run {before!r}, this is a new one; "
                f"to go on with it use WandbLogger(id={before!r}, resume='allow')"
            )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Pick the images to watch from the first batches."""
        self._pick(trainer, batch, batch_idx, dataloader_idx)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the watched images."""
        self._look(trainer, pl_module)

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Join the panels of all epochs to animations."""
        if self.animation and self._places and trainer.is_global_zero:
            with self._tolerating("animating the panels"):
                animations = write_animations(self._frames, self._folder / "animations")
                for place in self._places:
                    place.show_animations(self.prefix, animations, logged_step(trainer))

    # What a checkpoint keeps

    def state_dict(self) -> dict[str, Any]:
        """Which images are watched, their last maps, the panels so far: plain types and tensors."""
        return {
            "watched": self._watchlists["fit"].state_dict(),
            "maps": self._memory.state_dict(),
            "wandb_run_id": self._run_id,
            "frames": {name: [str(path) for path in paths] for name, paths in self._frames.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the same images."""
        self._watchlists["fit"].load_state_dict(state_dict["watched"])
        self._memory.load_state_dict(state_dict["maps"])
        self._run_id = state_dict["wandb_run_id"]
        self._frames = {name: [Path(path) for path in paths] for name, paths in state_dict["frames"].items()}

    # One look

    def _due(self, trainer: Trainer) -> bool:
        if trainer.sanity_checking:
            return False
        # From the first epoch on, so that a checkpoint can monitor the metrics: Lightning keeps them between looks.
        return trainer.state.fn != "fit" or trainer.current_epoch % self.every_n_epochs == 0

    def _sanity_due(self, trainer: Trainer) -> bool:
        every = self.sanity_every_n_epochs
        return every is not None and (trainer.state.fn != "fit" or trainer.current_epoch % every == 0)

    def _pick(self, trainer: Trainer, batch: Any, batch_idx: int, loader: int) -> None:
        watchlist = self._watchlists[surroundings.stage(trainer)]
        if self._due(trainer) and self.dataloader_idx in (None, loader) and not watchlist.complete(loader):
            with self._tolerating("reading a batch"):
                examples = read_batch(batch, str(batch_idx), self.batch_adapter)
                watchlist.offer(loader, filter(self.explainer.wants, examples))

    def _look(self, trainer: Trainer, module: LightningModule) -> None:
        if not self._due(trainer):
            return
        with torch.inference_mode(False), torch.no_grad():
            self.budget.open(training=trainer.state.fn == "fit")
            suffixes = surroundings.suffixes(trainer, self.dataloader_idx)
            findings: Findings = {suffix: [] for suffix in suffixes.values()}
            with self._tolerating("explaining the images"):
                self._find(trainer, module, suffixes, findings)
            logged = self._log(trainer, module, findings) if self.metrics else {}
            # Every process asks for the folder, because Lightning broadcasts it.
            self._folder = Path(trainer.log_dir or trainer.default_root_dir) / self.prefix
            if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
                with self._tolerating("showing the panels"):
                    self._show(trainer, module, findings, logged)
            self.budget.close()

    def _find(self, trainer: Trainer, module: LightningModule, suffixes: Mapping[int, str], findings: Findings) -> None:
        """Explain and score the watched images of every loader; what is found before an error is kept."""
        network = find_network(module, self.network)
        stage = surroundings.stage(trainer)
        memory = self._memory if stage == "fit" else Memory()  # drift is a matter of training
        for loader, suffix in suffixes.items():
            examples = self._watchlists[stage].examples(loader)
            with trainer.precision_plugin.forward_context():
                for explanation in explain_in_time(self.explainer, network, examples, module.device, self.budget):
                    findings[suffix].append(find(explanation, memory.drifts(suffix, explanation)))

    def _log(self, trainer: Trainer, module: LightningModule, findings: Findings) -> dict[str, float]:
        logged = {}
        for suffix, found in findings.items():
            columns: dict[str, list[float]] = {name: [] for name in SANITY_NAMES} if self._sanity_due(trainer) else {}
            if columns:
                with self._tolerating("the sanity check"), trainer.precision_plugin.forward_context():
                    columns = sanity(find_network(module, self.network), self.explainer, found, module.device)
            for name, value in numbers(found, trainer.strategy, columns).items():
                logged[f"{self.prefix}/{name}{suffix}"] = value
        if trainer.state.fn != "predict":  # where Lightning logs nothing
            for name, value in logged.items():
                module.log(name, value, batch_size=1, sync_dist=trainer.world_size > 1, add_dataloader_idx=False)
        return logged

    def _show(
        self,
        trainer: Trainer,
        module: LightningModule,
        findings: Findings,
        logged: dict[str, float],
    ) -> None:
        names = ClassNames(tuple(self.class_names or surroundings.class_names(trainer, module)))
        normalisation = self.normalisation or surroundings.normalisation(trainer)
        stage, epoch, step = surroundings.stage(trainer), trainer.current_epoch, logged_step(trainer)
        when = f"epoch {epoch}" if stage == "fit" else stage
        panels = {suffix: draw_panels(found, names, when, normalisation) for suffix, found in findings.items()}
        look = Look(stage, epoch, step, self.prefix, names, panels, logged)
        if self._shown_by != (trainer.loggers, self._folder):  # kept otherwise: a table grows over the looks of a run
            self._shown_by = (list(trainer.loggers), self._folder)
            self._places = places(trainer.loggers, Files(self._folder, self._frames))
        for place in self._places:
            place.show(look)


def _options(method: str, gamma: float, layer: str | None, further: dict[str, Any] | None) -> dict[str, Any]:
    """Options of `attribute`, checked now: a wrong one should not wait for the first validation."""
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown; the methods are {', '.join(METHODS)}")
    if method != "hedge" and gamma != 1.0:
        raise ValueError(f"gamma={gamma} is an option of method 'hedge', not of {method!r}; leave it out")
    options = {**({"gamma": gamma} if method == "hedge" else {}), **(further or {})}
    METHODS[method].with_defaults({k: v for k, v in options.items() if k not in ("chunk", "output")})
    return {"layer": layer, **options}
