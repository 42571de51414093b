"""MaskWriter: `trainer.predict` with a segmentation network fills a folder with masks, and goes on where it stopped.

Trainer(callbacks=[MaskWriter("masks", {"flip": True})]).predict(segmenter, datamodule)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from hedgeseg.callbacks.batches import BatchAdapter
from hedgeseg.callbacks.folder_writer import FolderWriter, Waiting
from hedgeseg.callbacks.photographs import photograph
from hedgeseg.seeds.formats.prediction import NARROW, write_prediction
from hedgeseg.seeds.mask_generator import MaskGenerator, Segmentation

WIDE_VOID = 65535


class MaskWriter(FolderWriter):
    """Writes `<id>.png` per image, the mask at the picture's own size, and `<id>.npz` with how sure each pixel is.

    Masks hold 0 for background, class + 1 and 255 for what is not sure, in VOC's palette; beside more than 254 classes
    they have 16 bits and 65535. The folder remembers what it was made with, as SeedWriter's does: a second run does
    what is missing, a run with other settings or weights is refused, an image that fails is named and counted.

    Args:
        folder: made if it does not exist.
        generator: a MaskGenerator or its options.
        target: `"all"`; or `"label"`: only those the image is labelled with, for images one learns from.
        confidence: also write how sure each pixel is.
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `id`, ...
        on_error: `"warn"` records an image's failure and goes on; `"raise"` stops.
        processes: so many work side by side on a CPU, as in SeedWriter.
        log_samples: show so many images with their masks, and the true ones, in a table of Weights & Biases.
        artifact: keep the folder there as an Artifact, with its manifest as metadata.
        classes: former name of `target`.

    Attributes:
        counts: how many images of this process were `written`, `skipped` because they were done, and `failed`.

    Raises:
        ValueError: an argument out of range.
    """

    noun = "mask"
    targets = ("all", "label")

    def __init__(
        self,
        folder: str,
        generator: MaskGenerator | dict[str, Any] | None = None,
        target: Literal["all", "label"] = "all",
        *,
        confidence: bool = True,
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
        on_error: Literal["warn", "raise"] = "warn",
        processes: int | None = None,
        log_samples: int = 0,
        artifact: bool = False,
        classes: Literal["all", "label"] | None = None,
    ) -> None:
        super().__init__(
            folder, target, classes=classes, network=network, batch_adapter=batch_adapter, on_error=on_error,
            processes=processes, log_samples=log_samples, artifact=artifact,
        )  # fmt: skip
        self.generator = generator if isinstance(generator, MaskGenerator) else MaskGenerator(**(generator or {}))
        self.confidence = confidence
        self._labels = NARROW

    def _settings(self, trainer: Trainer, network: nn.Module) -> dict[str, Any]:
        return {**self.generator.config(), "classes": self.target, "confidence": self.confidence}

    def _prepared(
        self, trainer: Trainer, module: LightningModule, network: nn.Module, one: Waiting
    ) -> tuple[Tensor, np.ndarray | None]:
        self._labels = len(self._names) or int(getattr(module, "num_classes", NARROW))
        picture = photograph(trainer, one.loader, one.example) if self.generator.refiner is not None else None
        return self._content.of(network, one.example, module.device), picture

    def _results(
        self,
        module: LightningModule,
        network: nn.Module,
        group: Sequence[Waiting],
        prepared: Sequence[tuple[Tensor, np.ndarray | None]],
    ) -> list[Segmentation]:
        return [
            self.generator(
                network,
                image,
                size=one.example.size,
                picture=picture,
                classes=one.classes,
                void=255 if self._labels <= NARROW else WIDE_VOID,
                name=one.identifier,
            )
            for one, (image, picture) in zip(group, prepared, strict=True)
        ]

    def _save(self, identifier: str, result: Segmentation) -> None:
        confidence = result.confidence if self.confidence else None
        write_prediction(self.folder, identifier, result.mask, self._labels, confidence)
