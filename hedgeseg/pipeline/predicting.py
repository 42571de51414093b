"""Prediction for the sake of what a callback writes: it runs the network itself, and only for what is missing."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from hedgeseg.callbacks.folder_writer import FolderWriter
from hedgeseg.callbacks.stage_bar import StageBar


class Onlooker(LightningModule):
    """A network whose `predict_step` leaves everything to the callbacks, which look at each image their own way.

    Args:
        network: from images to logits.
        num_classes: which a writer of masks may ask for.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (N, 3, H, W)."""
        return self.network(images)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Nothing: a forward pass here would be one that nobody reads."""


def predict(
    network: nn.Module,
    data: LightningDataModule,
    writer: FolderWriter,
    num_classes: int,
    name: str,
    accelerator: str = "auto",
    progress: bool = True,
    precision: Any = None,
) -> None:
    """Run a writer over the prediction set of a data module, on all cores; a bar shows the time left."""
    writer.take_all_cores()
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        callbacks=[writer, StageBar(name)] if progress else [writer],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
    )
    trainer.predict(Onlooker(network.eval(), num_classes), datamodule=data, return_predictions=False)
