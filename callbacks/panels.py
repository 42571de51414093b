"""What a logger gets of a look: Weights & Biases first, TensorBoard, files. The only module that imports wandb.

Whatever a logger is given is uint8: Weights & Biases draws float images black without a word.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from hedgeseg.audit.findings import Findings
from hedgeseg.callbacks.files import Files
from hedgeseg.callbacks.snapshot import Panel, Snapshot
from hedgeseg.class_names import ClassNames
from hedgeseg.visual import Picture, contact_sheet, same_size

WANDB_IMAGES = 108
"""Weights & Biases keeps this many images under one key and drops the rest."""

SUMMARIES = {"pointing_game": "max", "outside_inside": "min"}
"""How a run's summary condenses a metric: its best value, not its last."""

SEED_LEVEL = 0.15
"""Share of a map's maximum above which an interactive overlay counts a pixel to the class: the seeds' background."""


class Place(Protocol):
    """Somewhere a look is shown."""

    def show(self, look: Snapshot) -> None:
        """Show one look."""

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Show one GIF per watched image, by its name."""


def places(loggers: Sequence[Logger], files: Files) -> list[Place]:
    """The places of a run: its folder, then its loggers that can show images."""
    shown: list[Place] = [files]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            shown.append(Wandb(logger, files))
        elif isinstance(logger, TensorBoardLogger):
            shown.append(TensorBoard(logger))
    return shown


def hush_wandb() -> None:
    """Offline runs of this process write nothing on the screen: for commands that say themselves where the runs are.

    To be called before the first run: `wandb.init` warns of what Lightning hands it before it looks whether it may.
    """
    import wandb

    wandb.setup(wandb.Settings(silent=True, mode="offline"))


def logged_step(trainer: Trainer) -> int:
    """The step Lightning logs its validation metrics at: `global_step` is one ahead of it."""
    # A private name of Lightning, so with a fallback: a step off by one is better than no picture.
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


def wandb_run_id(loggers: Sequence[Logger]) -> str | None:
    """Id of the Weights & Biases run that is logged to; None without one."""
    return next((str(logger.version) for logger in loggers if isinstance(logger, WandbLogger)), None)


class TensorBoard:
    """One tag per watched image, so that TensorBoard's slider goes through its epochs."""

    def __init__(self, logger: TensorBoardLogger) -> None:
        self.logger = logger

    def show(self, look: Snapshot) -> None:
        """Log one look."""
        for suffix, panels in look.panels.items():
            for panel in panels:
                tag = f"{look.prefix}/panels{suffix}/{panel.number:03d}"
                self.logger.experiment.add_image(tag, panel.drawing, look.step, dataformats="HWC")

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Nothing to do: the slider is the animation."""


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


def byte_ids(mask: np.ndarray, void: int) -> np.ndarray:
    """A mask in the eight bits that can be drawn, 255 void: ids beyond 254 become background."""
    return np.where(mask == void, 255, np.where(mask < 255, mask, 0)).astype(np.uint8)


def relevant_pixels(maps: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Ids of the class whose relevance is strongest relative to its maximum: a first seed, uint8 `(H, W)`.

    Args:
        maps: `(T, H, W)` signed.
        classes: class index of each map.
    """
    positive = np.maximum(maps, 0)
    scaled = positive / np.maximum(positive.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    ids = np.asarray(classes)[scaled.argmax(axis=0)] + 1
    return np.where((scaled.max(axis=0) > SEED_LEVEL) & (ids < 255), ids, 0).astype(np.uint8)


AUDIT_BARS = ("accuracy", "pointing", "outside_inside", "border", "corners", "mirror", "removal_drop")
"""Numbers of an audit that are drawn as bars per class."""


def log_audit(
    loggers: Sequence[Logger], findings: Findings, classes: Sequence[str], alerts: Sequence[str], rows: int
) -> None:
    """Show an audit in Weights & Biases: a table of its images, bars per class, one alert; in TensorBoard a sheet.

    Args:
        loggers: of the run.
        findings: of the audit.
        classes: names by index.
        alerts: what crossed a bound, in words.
        rows: of the table at most, the most suspicious first.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _audit_in_wandb(logger.experiment, findings, classes, alerts, rows)
        elif isinstance(logger, TensorBoardLogger) and findings.evidence[0].thumbnail:
            sheet = audit_sheet(findings, classes)
            logger.experiment.add_image("audit/first_to_look_at", sheet, 0, dataformats="HWC")


def _audit_in_wandb(run: Any, findings: Findings, classes: Sequence[str], alerts: Sequence[str], rows: int) -> None:
    import wandb

    called = ClassNames(tuple(classes))
    names = sorted(findings.overall.keys() - {"images", "accuracy"})
    table = wandb.Table(
        columns=["image", "id", "split", "class", "probability", "correct", *names, "cluster", "flagged", "reasons"]
    )
    flagged = {(c.class_index, i) for c in findings.clusters if c.flagged for i in c.members}
    for i in findings.order[:rows]:
        entry = findings.evidence[i]
        picture = wandb.Image(decoded(entry.thumbnail)) if entry.thumbnail else None
        table.add_data(
            picture,
            entry.id,
            entry.split,
            called[entry.class_index],
            entry.probability,
            entry.correct,
            *(entry.numbers.get(name) for name in names),
            findings.cluster_of[i],
            (entry.class_index, i) in flagged,
            "; ".join(findings.reasons[i]),
        )
    logged: dict[str, Any] = {"audit/images": table}
    for name in AUDIT_BARS:
        values = [
            [called[index], numbers[name]]
            for index, numbers in findings.per_class.items()
            if numbers.get(name) is not None and numbers[name] == numbers[name]
        ]
        if values:
            bars = wandb.Table(data=values, columns=["class", name])
            logged[f"audit/{name}"] = wandb.plot.bar(bars, "class", name, title=name)
    run.log(logged)
    run.summary.update({f"audit/{name}": value for name, value in findings.overall.items() if value == value})
    run.summary["audit/flagged"] = sum(cluster.flagged for cluster in findings.clusters)
    if alerts:
        run.alert(title="hedgeseg audit", text="\n".join(alerts), level="WARN")


def audit_sheet(findings: Findings, classes: Sequence[str], count: int = 12) -> Picture:
    """The most suspicious images of an audit on one sheet, with the reasons."""
    chosen = [findings.evidence[i] for i in findings.order[:count]]
    reasons = [findings.reasons[i] for i in findings.order[:count]]
    called = ClassNames(tuple(classes))
    captions = [
        f"{entry.id}: {called[entry.class_index]} {entry.probability:.2f}; {'; '.join(why) or 'nothing odd'}"
        for entry, why in zip(chosen, reasons, strict=True)
    ]
    return contact_sheet([[decoded(entry.thumbnail)] for entry in chosen], rows=captions)


def decoded(jpeg: bytes) -> Picture:
    """The pixels of a JPEG file, uint8 `(H, W, 3)`."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


@dataclass(frozen=True, eq=False)
class FolderRow:
    """An image of a folder of seeds or masks.

    Attributes:
        id: of the image.
        picture: uint8 `(H, W, 3)`.
        masks: `prediction`, and `ground_truth` where it is known, uint8 `(H, W)`.
    """

    id: str
    picture: Picture
    masks: Mapping[str, np.ndarray]


def log_folder(
    loggers: Sequence[Logger],
    folder: Path,
    noun: str,
    rows: Sequence[FolderRow],
    classes: Sequence[str],
    manifest: Mapping[str, Any] | None,
) -> dict[str, str] | None:
    """Show a folder of seeds or masks in Weights & Biases: the same images in a table and as a panel.

    Args:
        loggers: of the run.
        folder: what is shown.
        noun: "seed" or "mask".
        rows: of the table `<noun>s/<folder>`.
        classes: names by index.
        manifest: of the folder; it is kept as an Artifact with this as metadata. None keeps nothing.

    Returns:
        Where it is shown: `run`, `url` (empty offline), `dir`, `table`, `artifact`; None without such a logger.
    """
    runs = [logger.experiment for logger in loggers if isinstance(logger, WandbLogger)]
    if not runs:
        return None
    import wandb

    (run, *_), found = runs, {"table": "", "artifact": ""}
    if rows:
        names = {0: "background", **{i + 1: name for i, name in enumerate(classes) if i < 254}, 255: "void"}
        table, images = wandb.Table(columns=["id", "image", "classes"]), []
        for row in rows:
            layers = {key: {"mask_data": mask, "class_labels": names} for key, mask in row.masks.items()}
            shown = ", ".join(names.get(i, f"class {i - 1}") for i in np.unique(row.masks["prediction"]).tolist() if i)
            # An image that is in a table already is not drawn again elsewhere: each gets one of its own.
            images.append(wandb.Image(row.picture, masks=layers, caption=f"{row.id}: {shown}"))
            table.add_data(row.id, wandb.Image(row.picture, masks=layers), shown)
        found["table"] = f"{noun}s/{folder.name}"
        run.log({found["table"]: table, f"{found['table']}/images": images})
    if manifest is not None:
        artifact = wandb.Artifact(f"{noun}s-{folder.name}", type=f"{noun}s", metadata=dict(manifest))
        artifact.add_dir(str(folder))
        run.log_artifact(artifact)
        found["artifact"] = artifact.name
    return {"run": str(run.id), "url": str(getattr(run, "url", None) or ""), "dir": str(run.dir), **found}
