"""Where the looks of a run are shown: a folder of its own, and its loggers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.drawing import draw_panels
from hedgeseg.callbacks.files import Files, write_animations
from hedgeseg.callbacks.panels import wandb_run_id
from hedgeseg.callbacks.places import Place, places
from hedgeseg.callbacks.run_folder import claim_folder
from hedgeseg.callbacks.snapshot import Snapshot
from hedgeseg.callbacks.stage_monitor import Findings
from hedgeseg.callbacks.trainer_context import Normalisation
from hedgeseg.class_names import ClassNames


class Showing:
    """Shows the looks of one run; used by the process of rank zero.

    Args:
        prefix: name of the folder and first part of all keys.
        class_names: given by the user; the data's otherwise.
        normalisation: likewise.

    Attributes:
        frames: the panels of each watched image, look after look.
        run_id: of the Weights & Biases run, None without one.
    """

    def __init__(self, prefix: str, class_names: tuple[str, ...] | None, normalisation: Normalisation | None) -> None:
        self.prefix, self.class_names, self.normalisation = prefix, class_names, normalisation
        self.frames: dict[str, list[Path]] = {}
        self.run_id: str | None = None
        self._folder: Path | None = None
        self._root: Path | None = None
        self._fitted = False
        self._loggers: list[Logger] | None = None
        self._places: list[Place] = []

    def begin_fit(self) -> None:
        """Forget the run before; a folder that has no fit in it yet is kept."""
        self.frames, self.run_id, self._loggers, self._places = {}, None, None, []
        if self._fitted:
            self._folder, self._fitted = None, False

    def begin_run(self, trainer: Trainer) -> str | None:
        """Note the Weights & Biases run that is logged to; returns the one of the checkpoint, if it was another."""
        before, self.run_id = self.run_id, wandb_run_id(trainer.loggers)
        return before if before is not None and self.run_id is not None and before != self.run_id else None

    def show(
        self,
        trainer: Trainer,
        module: LightningModule,
        root: Path,
        suffixes: Mapping[int, str],
        findings: Findings,
        logged: Mapping[str, float],
    ) -> None:
        """Show one look.

        Args:
            trainer: of the run.
            module: the user's.
            root: the run's folder, below which that of the pictures is made.
            suffixes: of the names, by loader.
            findings: what was seen, by suffix.
            logged: the metrics, by full name.
        """
        names = {suffix: self._names(trainer, module, loader, findings[suffix]) for loader, suffix in suffixes.items()}
        normalisation = self.normalisation or trainer_context.normalisation(trainer)
        stage, epoch, step = trainer_context.stage(trainer), trainer.current_epoch, trainer_context.logged_step(trainer)
        when = f"epoch {epoch}" if stage == "fit" else stage
        panels = {suffix: draw_panels(found, names[suffix], when, normalisation) for suffix, found in findings.items()}
        look = Snapshot(stage, epoch, step, self.prefix, names, panels, logged)
        folder = self._own_folder(root)
        self._fitted = self._fitted or stage == "fit"
        if (
            self._loggers != trainer.loggers or not self._places
        ):  # kept otherwise: a table grows over the looks of a run
            self._loggers = list(trainer.loggers)
            self._places = places(trainer.loggers, Files(folder, self.frames))
        for place in self._places:
            place.show(look)

    def animate(self, trainer: Trainer) -> None:
        """Join the panels of all looks to animations."""
        if self._folder is not None:
            animations = write_animations(self.frames, self._folder / "animations")
            for place in self._places:
                place.show_animations(self.prefix, animations, trainer_context.logged_step(trainer))

    def state_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "wandb_run_id": self.run_id,
            "frames": {name: [str(path) for path in paths] for name, paths in self.frames.items()},
            "folder": None if self._folder is None else str(self._folder),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the folder of the run that was stopped."""
        self.run_id = state["wandb_run_id"]
        self.frames = {name: [Path(path) for path in paths] for name, paths in state["frames"].items()}
        folder = state.get("folder")
        if folder is not None and Path(folder).is_dir():
            self._folder = Path(folder)
            self._root = None

    def _own_folder(self, root: Path) -> Path:
        if self._folder is not None and self._root is None and root.absolute() in self._folder.absolute().parents:
            self._root = root
        if self._folder is None or self._root != root:
            self._folder, self._root, self._places = claim_folder(root, self.prefix), root, []
        return self._folder

    def _names(self, trainer: Trainer, module: LightningModule, loader: int, found: list[Any]) -> ClassNames:
        names = ClassNames(tuple(self.class_names or trainer_context.class_names(trainer, module, loader)))
        return names.of_sides() if any(f.explanation.sides for f in found) else names
