"""What Weights & Biases gets: a look's panels, and tables, bars and folders of others. The only module that imports it.

Whatever it is given is uint8: it draws float images black without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, WandbLogger

from hedgeseg.callbacks.files import Files
from hedgeseg.callbacks.mask_layers import byte_ids, relevant_pixels
from hedgeseg.callbacks.snapshot import Panel, Snapshot
from hedgeseg.class_names import ClassNames
from hedgeseg.visual import Picture, same_size

WANDB_IMAGES = 108
"""Weights & Biases keeps this many images under one key and drops the rest."""

SUMMARIES = {"pointing_game": "max", "outside_inside": "min"}
"""How a run's summary condenses a metric: its best value, not its last."""


def hush_wandb() -> None:
    """Offline runs of this process write nothing on the screen: for commands that say themselves where the runs are.

    To be called before the first run: `wandb.init` warns of what Lightning hands it before it looks whether it may.
    """
    import wandb

    wandb.setup(wandb.Settings(silent=True, mode="offline"))


def wandb_runs(loggers: Sequence[Logger]) -> list[Any]:
    """The Weights & Biases runs that are logged to."""
    return [logger.experiment for logger in loggers if isinstance(logger, WandbLogger)]


def wandb_run_id(loggers: Sequence[Logger]) -> str | None:
    """Id of the Weights & Biases run that is logged to; None without one."""
    return next((str(logger.version) for logger in loggers if isinstance(logger, WandbLogger)), None)


def wandb_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A table; cells may be what `wandb_image` makes."""
    import wandb

    return wandb.Table(columns=list(columns), data=[list(row) for row in rows])


def wandb_image(
    picture: Picture,
    masks: Mapping[str, np.ndarray] | None = None,
    names: Mapping[int, str] | None = None,
    caption: str | None = None,
) -> Any:
    """An image, with masks to switch on and off.

    Args:
        picture: uint8 `(H, W, 3)`.
        masks: uint8 `(H, W)`, by name.
        names: of the ids that masks hold.
        caption: below it.
    """
    import wandb

    layers = {key: {"mask_data": mask, "class_labels": names} for key, mask in (masks or {}).items()}
    return wandb.Image(picture, masks=layers or None, caption=caption)


def wandb_bars(values: Sequence[Sequence[Any]], label: str, name: str) -> Any:
    """A bar for every `(label, value)`, titled by the name of the values."""
    import wandb

    return wandb.plot.bar(wandb_table([label, name], values), label, name, title=name)


def keep_in_wandb(run: Any, folder: Path, name: str, kind: str, metadata: Mapping[str, Any]) -> str:
    """Keep a folder as an Artifact; returns what it is called there."""
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
    artifact.add_dir(str(folder))
    run.log_artifact(artifact)
    return str(artifact.name)


class Wandb:
    """Panels, interactive overlays and a growing table, in one `log` per look at Lightning's own step.

    Args:
        logger: of the run.
        files: where the look has been written: what is on disk need not be compressed again.
    """

    columns = ("epoch", "step", "loader", "image", "class", "score", "panel", "pointing hit", "outside/inside", "drift")

    def __init__(self, logger: WandbLogger, files: Files) -> None:
        self.logger = logger
        self.files = files
        self._table: Any = None
        self._defined: set[str] = set()

    def show(self, look: Snapshot) -> None:
        """Log one look."""
        import wandb

        run = self.logger.experiment
        self._define_summaries(run, look)
        entry: dict[str, Any] = {"trainer/global_step": look.step}
        for suffix, panels in look.panels.items():
            kept = panels[:WANDB_IMAGES]
            if kept:
                entry[f"{look.prefix}/panels{suffix}"] = [
                    wandb.Image(self._drawn(look, suffix, panel, padded), caption=panel.key)
                    for panel, padded in zip(kept, same_size([panel.drawing for panel in kept]), strict=True)
                ]
                entry[f"{look.prefix}/overlays{suffix}"] = [self._interactive(look, suffix, panel) for panel in kept]
        entry[f"{look.prefix}/maps"] = self._grown_table(look)
        # Never pass wandb's own step: it may be ahead, and an entry that goes back is dropped.
        run.log(entry)

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Log the GIFs."""
        import wandb

        clips = {f"{prefix}/animations/{n}": wandb.Video(str(path), format="gif") for n, path in animations.items()}
        self.logger.experiment.log({"trainer/global_step": step, **clips})

    def _define_summaries(self, run: Any, look: Snapshot) -> None:
        for name in look.numbers.keys() - self._defined:
            metric = name.removeprefix(f"{look.prefix}/").split("/")[0]
            if metric in SUMMARIES:
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=SUMMARIES[metric])
            self._defined.add(name)

    def _grown_table(self, look: Snapshot) -> Any:
        """The run's table with the rows of this look added; only new rows are sent."""
        import wandb

        if self._table is None:
            self._table = wandb.Table(columns=list(self.columns), log_mode="INCREMENTAL")
        rows = look.rows()
        for suffix, panels in look.panels.items():
            for panel in panels:
                file = str(self.files.drawing(look, suffix, panel))
                for row in (next(rows) for _ in panel.scores):
                    cells = {**row, "epoch": look.epoch, "step": look.step, "panel": wandb.Image(file)}
                    self._table.add_data(*(cells[column] for column in self.columns))
        return self._table

    def _drawn(self, look: Snapshot, suffix: str, panel: Panel, padded: Picture) -> str | Picture:
        """The file of a panel; its pixels where it has to be padded: images under one key must be of one size."""
        return str(self.files.drawing(look, suffix, panel)) if padded.shape == panel.drawing.shape else padded

    def _interactive(self, look: Snapshot, suffix: str, panel: Panel) -> Any:
        """The plain image with masks and boxes that can be switched on and off in the browser."""
        import wandb

        example, explanation = panel.explanation.example, panel.explanation
        names = look.names[suffix]
        labels = names.of_mask(explanation.num_classes)
        layers = {"relevance": relevant_pixels(explanation.maps.numpy(), explanation.classes)}
        if example.mask is not None:
            layers["truth"] = byte_ids(example.mask.numpy(), example.void)
        masks = {name: {"mask_data": layer, "class_labels": labels} for name, layer in layers.items()}
        true_boxes = _boxes(names, panel)
        boxes = {"truth": {"box_data": true_boxes, "class_labels": labels}} if true_boxes else None
        return wandb.Image(str(self.files.picture(suffix, panel)), masks=masks, boxes=boxes, caption=panel.key)


def _boxes(names: ClassNames, panel: Panel) -> list[dict[str, Any]]:
    """The true boxes in the form Weights & Biases draws."""
    example = panel.explanation.example
    if example.boxes is None or example.box_labels is None:
        return []
    return [
        {
            "position": dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)),
            "class_id": index + 1,
            "box_caption": names[index],
            "domain": "pixel",
        }
        for box, index in zip(example.boxes.tolist(), example.box_labels.tolist(), strict=True)
    ]
