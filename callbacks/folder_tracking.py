"""A folder of seeds or masks in the run's Weights & Biases: a sample with its masks, and the folder as an Artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from PIL import Image

from hedgeseg.callbacks.folder_panels import FolderRow, log_folder
from hedgeseg.callbacks.mask_layers import byte_ids
from hedgeseg.callbacks.photographs import photographs, true_masks
from hedgeseg.seeds.formats import identifiers
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.manifest import MANIFEST
from hedgeseg.seeds.tracked import TRACKED
from hedgeseg.visual import colour_mask

SIDE = 512
"""Longest side in pixels of the pictures that are shown."""

VOID_OF_16_BITS = 65535


@dataclass(frozen=True)
class Tracking:
    """What of a folder is shown, once it is full.

    Attributes:
        samples: how many images.
        artifact: whether the folder is kept.
    """

    samples: int = 0
    artifact: bool = False

    def __bool__(self) -> bool:
        return self.samples > 0 or self.artifact

    def __call__(
        self, trainer: Trainer, folder: Path, noun: str, classes: Sequence[str], indices: Mapping[str, int]
    ) -> None:
        """Show it, and note in the folder's `wandb.json` where.

        Args:
            trainer: has predicted.
            folder: of the results.
            noun: "seed" or "mask".
            classes: names by index.
            indices: positions of images whose ids the data sets do not tell.
        """
        rows = [self._row(trainer, folder, name, indices) for name in chosen(identifiers(folder, ".png"), self.samples)]
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = log_folder(trainer.loggers, folder, noun, rows, classes, manifest if self.artifact else None)
        if found is None:
            rank_zero_warn(
                f"log_samples and artifact show the {noun}s in Weights & Biases, and the trainer has no WandbLogger: "
                "give it one, or leave them out"
            )
            return
        with replacing(folder / TRACKED) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def _row(self, trainer: Trainer, folder: Path, name: str, indices: Mapping[str, int]) -> FolderRow:
        with Image.open(folder / f"{name}.png") as file:
            raw = np.asarray(file)
        mask = byte_ids(raw, VOID_OF_16_BITS if raw.dtype == np.uint16 or raw.dtype.itemsize > 1 else 255)
        size = (int(mask.shape[0]), int(mask.shape[1]))
        picture = photographs(trainer, indices)(name, size)
        truth = true_masks(trainer, indices)(name, size)
        masks = {"prediction": mask} | ({} if truth is None else {"ground_truth": byte_ids(*truth)})
        step = -(-max(size) // SIDE)
        shown = colour_mask(mask) if picture is None else picture
        return FolderRow(name, shown[::step, ::step], {key: value[::step, ::step] for key, value in masks.items()})


def chosen(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, evenly over all."""
    if count >= len(names):
        return list(names)
    return [names[i * len(names) // count] for i in range(count)]
