"""MaskWriter: `trainer.predict` with a segmentation network fills a folder with masks, and goes on where it stopped.

Trainer(callbacks=[MaskWriter("masks", {"flip": True})]).predict(segmenter, datamodule)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn

from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.batches import BatchAdapter, Example, read_batch
from hedgeseg.callbacks.content import Content
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.photographs import photograph
from hedgeseg.callbacks.resuming import leave_out_done
from hedgeseg.callbacks.seed_settings import data_settings, network_settings
from hedgeseg.seeds.formats.prediction import NARROW, has_prediction, write_prediction
from hedgeseg.seeds.manifest import Manifest, open_folder, weights_hash
from hedgeseg.seeds.mask_generator import MaskGenerator

WIDE_VOID = 65535


class MaskWriter(BasePredictionWriter):
    """Writes `<id>.png` per image, the mask at the picture's own size, and `<id>.npz` with how sure each pixel is.

    Masks hold 0 for background, class + 1 and 255 for what is not sure, in VOC's palette; beside more than 254 classes
    they have 16 bits and 65535. The folder remembers what it was made with, as SeedWriter's does: a second run does
    what is missing, a run with other settings or weights is refused, an image that fails is named and counted.

    Args:
        folder: made if it does not exist.
        generator: a MaskGenerator or its options.
        classes: `"all"`; or `"label"`: only those the image is labelled with, for images one learns from.
        confidence: also write how sure each pixel is.
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `id`, ...
        on_error: `"warn"` records an image's failure and goes on; `"raise"` stops.

    Attributes:
        counts: how many images of this process were `written`, `skipped` because they were done, and `failed`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        folder: str,
        generator: MaskGenerator | dict[str, Any] | None = None,
        classes: Literal["all", "label"] = "all",
        *,
        confidence: bool = True,
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        super().__init__(write_interval="batch")
        if classes not in ("all", "label"):
            raise ValueError(f"classes is 'all' or 'label', got {classes!r}")
        if on_error not in ("warn", "raise"):
            raise ValueError(f"on_error is 'warn' or 'raise', got {on_error!r}")
        self.folder = Path(folder)
        self.generator = generator if isinstance(generator, MaskGenerator) else MaskGenerator(**(generator or {}))
        self.classes = classes
        self.confidence = confidence
        self.network = network
        self.batch_adapter = batch_adapter
        self.on_error = on_error
        self.counts = {"written": 0, "skipped": 0, "failed": 0}
        self._manifest: Manifest | None = None
        self._names: list[str] = []
        self._loader_of: dict[str, int] = {}
        self._content = Content()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies under which no process holds the network; tell the data which images have their mask."""
        super().setup(trainer, pl_module, stage)
        trainer_context.refuse_sharded(trainer, "MaskWriter")
        if stage == "predict":
            leave_out_done(trainer)

    def is_pending(self, identifier: str) -> bool:
        """Whether an image has no mask yet; one whose id cannot name a file is met, and named, in its turn."""
        try:
            return not has_prediction(self.folder, identifier)
        except ValueError:
            return True

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the folder, or refuse one that was made with other settings."""
        network = find_network(pl_module, self.network)
        self._names = list(trainer_context.class_names(trainer, pl_module))
        settings = {
            **self.generator.config(),
            "classes": self.classes,
            "class_names": self._names,
            "confidence": self.confidence,
            "data": data_settings(trainer),
            "network": network_settings(network),
        }
        self._manifest = open_folder(self.folder, {**settings, "weights": weights_hash(network)})
        left_out = getattr(getattr(trainer, "datamodule", None), "left_out", 0)
        self.counts = {"written": 0, "skipped": left_out if trainer.is_global_zero else 0, "failed": 0}
        self._loader_of, self._content = {}, Content()

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the masks of a batch."""
        network = find_network(pl_module, self.network)
        with torch.inference_mode(False), torch.no_grad(), trainer.precision_plugin.forward_context():
            for position, example in enumerate(read_batch(batch, str(batch_idx), self.batch_adapter)):
                identifier = example.key
                if not example.named:  # then its place in the data set names it
                    place = f"{batch_indices[position]:06d}" if batch_indices else f"{batch_idx:06d}_{position}"
                    identifier = f"{dataloader_idx}_{place}"
                self._write(trainer, network, pl_module, example, identifier, dataloader_idx)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what was done."""
        summary = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        rank_zero_info(f"MaskWriter: {summary}; the masks are in {self.folder}")

    def _write(
        self,
        trainer: Trainer,
        network: nn.Module,
        module: LightningModule,
        example: Example,
        identifier: str,
        loader: int,
    ) -> None:
        assert self._manifest is not None
        try:
            first = self._loader_of.setdefault(identifier, loader)
            if first != loader:
                raise ValueError(f"loader {first} has an image of this id, too: its mask would be overwritten")
            if has_prediction(self.folder, identifier):
                self.counts["skipped"] += 1
                return
            number = len(self._names) or int(getattr(module, "num_classes", NARROW))
            found = self.generator(
                network,
                self._content.of(network, example, module.device),
                size=example.size,
                picture=photograph(trainer, loader, example) if self.generator.refiner is not None else None,
                classes=self._allowed(example),
                void=255 if number <= NARROW else WIDE_VOID,
            )
            write_prediction(self.folder, identifier, found.mask, number, found.confidence if self.confidence else None)
            self._manifest.clear_failure(identifier)
            self.counts["written"] += 1
        except Exception as error:
            if self.on_error == "raise":
                raise
            self.counts["failed"] += 1
            rank_zero_warn(f"MaskWriter: image {identifier!r} has no mask: {type(error).__name__}: {error}")
            with suppress(ValueError):  # an identifier that cannot name a file; the warning has said so
                self._manifest.record_failure(identifier, error)

    def _allowed(self, example: Example) -> list[int] | None:
        if self.classes == "all":
            return None
        if example.labels is None:
            raise ValueError("the batch has no labels; use classes='all' or give batch_adapter")
        return list(example.labels)
