"""Where a look is shown: Weights & Biases, TensorBoard, and files. The only module that imports wandb.

Whatever a place is given is uint8: Weights & Biases draws float images black without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from hedgeseg.callbacks.look import Look, Panel
from hedgeseg.visual import Picture, contact_sheet

WANDB_IMAGES = 108
"""Weights & Biases keeps this many images under one key and drops the rest."""

SUMMARIES = {"pointing_game": "max", "outside_inside": "min"}
"""How a run's summary condenses a metric: its best value, not its last."""

SEED_LEVEL = 0.15
"""Share of a map's maximum above which an interactive overlay counts a pixel to the class: the seeds' background."""


class Place(Protocol):
    """Somewhere a look is shown."""

    def show(self, look: Look) -> None:
        """Show one look."""

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Show one GIF per watched image, by its name."""


def places(loggers: Sequence[Logger], folder: Path, frames: dict[str, list[Path]]) -> list[Place]:
    """The places of a run: its loggers that can show images, and always its folder."""
    shown: list[Place] = [Files(folder, frames)]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            shown.append(Wandb(logger))
        elif isinstance(logger, TensorBoardLogger):
            shown.append(TensorBoard(logger))
    return shown


def logged_step(trainer: Trainer) -> int:
    """The step Lightning logs its validation metrics at: `global_step` is one ahead of it."""
    # A private name of Lightning, so with a fallback: a step off by one is better than no picture.
    return int(getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step))


class Files:
    """PNG panels, a contact sheet and the numbers as JSON, one folder per look.

    Args:
        folder: made when it is needed.
        frames: where the panels of each watched image are noted, look after look, for an animation.
    """

    def __init__(self, folder: Path, frames: dict[str, list[Path]]) -> None:
        self.folder = folder
        self.frames = frames

    def show(self, look: Look) -> None:
        """Write one look."""
        for suffix, panels in look.panels.items():
            folder = self.folder / look.folder / suffix.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            for number, panel in enumerate(panels):
                path = folder / f"{number:03d}_{_file_name(panel.key)}.png"
                _write_png(path, panel.drawing)
                self.frames.setdefault(str(path.relative_to(self.folder / look.folder).with_suffix("")), []).append(
                    path
                )
            if panels:
                sheet = contact_sheet([[panel.drawing] for panel in panels], gap=12)
                _write_png(folder / "sheet.png", sheet)
        record = {
            "stage": look.stage,
            "epoch": look.epoch,
            "step": look.step,
            "metrics": dict(look.numbers),
            "maps": [_row(look, suffix, panel, t) for suffix, panel, t in _maps(look)],
        }
        path = self.folder / look.folder / "look.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Nothing to do: the animations are files already."""


class TensorBoard:
    """One image per watched image, so that TensorBoard's slider goes through its epochs."""

    def __init__(self, logger: TensorBoardLogger) -> None:
        self.logger = logger

    def show(self, look: Look) -> None:
        """Log one look."""
        for suffix, panels in look.panels.items():
            for number, panel in enumerate(panels):
                tag = f"{look.prefix}/panels{suffix}/{number:03d}"
                self.logger.experiment.add_image(tag, panel.drawing, look.step, dataformats="HWC")

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Nothing to do: the slider is the animation."""


class Wandb:
    """Panels, interactive overlays and a growing table, in one `log` per look at Lightning's own step."""

    columns = ("epoch", "step", "loader", "image", "class", "score", "panel", "pointing hit", "outside/inside", "drift")

    def __init__(self, logger: WandbLogger) -> None:
        self.logger = logger
        self._table: Any = None
        self._defined: set[str] = set()

    def show(self, look: Look) -> None:
        """Log one look."""
        import wandb

        run = self.logger.experiment
        self._define_summaries(run, look)
        entry: dict[str, Any] = {"trainer/global_step": look.step}
        for suffix, panels in look.panels.items():
            kept = panels[:WANDB_IMAGES]
            if kept:
                entry[f"{look.prefix}/panels{suffix}"] = [wandb.Image(p.drawing, caption=p.key) for p in kept]
                entry[f"{look.prefix}/overlays{suffix}"] = [_interactive(wandb, look, p) for p in kept]
        if self._table is None:
            self._table = wandb.Table(columns=list(self.columns), log_mode="INCREMENTAL")
        for suffix, panel, t in _maps(look):
            row = _row(look, suffix, panel, t)
            cells = {**row, "epoch": look.epoch, "step": look.step, "panel": wandb.Image(panel.drawing)}
            self._table.add_data(*(cells[column] for column in self.columns))
        entry[f"{look.prefix}/maps"] = self._table
        # Never pass wandb's own step: it may be ahead, and an entry that goes back is dropped.
        run.log(entry)

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Log the GIFs."""
        import wandb

        clips = {
            f"{prefix}/animations/{name}": wandb.Video(str(path), format="gif") for name, path in animations.items()
        }
        self.logger.experiment.log({"trainer/global_step": step, **clips})

    def _define_summaries(self, run: Any, look: Look) -> None:
        for name in look.numbers.keys() - self._defined:
            metric = name.removeprefix(f"{look.prefix}/").split("/")[0]
            if metric in SUMMARIES:
                run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=SUMMARIES[metric])
            self._defined.add(name)


def _interactive(wandb: Any, look: Look, panel: Panel) -> Any:
    """The plain image with masks and boxes that can be switched on and off in the browser."""
    example, explanation = panel.explanation.example, panel.explanation
    labels = look.names.of_mask(explanation.num_classes)
    masks = {
        "relevance": {
            "mask_data": relevant_pixels(explanation.maps.numpy(), explanation.classes),
            "class_labels": labels,
        }
    }
    if example.mask is not None:
        masks["truth"] = {"mask_data": example.mask.numpy().astype(np.uint8), "class_labels": labels}
    boxes = None
    if example.boxes is not None and example.box_labels is not None and len(example.boxes):
        corners = ("minX", "minY", "maxX", "maxY")
        data = [
            {
                "position": dict(zip(corners, (float(v) for v in box), strict=True)),
                "class_id": int(index) + 1,
                "box_caption": look.names[int(index)],
                "domain": "pixel",
            }
            for box, index in zip(example.boxes.tolist(), example.box_labels.tolist(), strict=True)
        ]
        boxes = {"truth": {"box_data": data, "class_labels": labels}}
    return wandb.Image(panel.picture, masks=masks, boxes=boxes, caption=panel.key)


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


def write_animations(frames: Mapping[str, Sequence[Path]], folder: Path) -> dict[str, Path]:
    """Write one GIF per watched image of which there are several panels; returns their paths by name."""
    animations = {}
    for name, paths in frames.items():
        present = [path for path in paths if path.is_file()]
        if len(present) > 1:
            animations[name] = folder / f"{name}.gif"
            animations[name].parent.mkdir(parents=True, exist_ok=True)
            _write_gif(present, animations[name])
    return animations


def _write_gif(frames: Sequence[Path], path: Path, milliseconds: int = 600) -> None:
    """Join PNG panels of one image into a GIF; the last frame stays longer."""
    pictures = [Image.open(frame).convert("RGB") for frame in frames]
    size = (max(p.width for p in pictures), max(p.height for p in pictures))
    padded = [Image.new("RGB", size, (255, 255, 255)) for _ in pictures]
    for sheet, picture in zip(padded, pictures, strict=True):
        sheet.paste(picture)
    durations = [milliseconds] * (len(padded) - 1) + [4 * milliseconds]
    padded[0].save(path, save_all=True, append_images=padded[1:], duration=durations, loop=0)


def _maps(look: Look) -> list[tuple[str, Panel, int]]:
    return [(suffix, p, t) for suffix, ps in look.panels.items() for p in ps for t in range(len(p.explanation.classes))]


def _row(look: Look, suffix: str, panel: Panel, t: int) -> dict[str, Any]:
    score = panel.scores[t]
    return {
        "loader": suffix.rpartition("_")[2],
        "image": panel.key,
        "class": look.names[panel.explanation.classes[t]],
        "score": panel.explanation.scores[t],
        "pointing hit": score.hit,
        "outside/inside": score.outside_inside,
        "drift": score.drift,
    }


def _write_png(path: Path, picture: Picture) -> None:
    Image.fromarray(picture).save(path, compress_level=3)


def _file_name(key: str) -> str:
    """A key as a part of a file name: the end of it, where paths differ."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in key)[-80:]
