"""The segmentation network that learns from masks, true or pseudo."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.data.batch import VOID, Batch
from hedgeseg.models.segmentation_networks import build_segmentation_network


class Segmenter(LightningModule):
    """A segmentation network with its loss, metric and schedule; `forward` gives logits (N, 1 + classes, H, W).

    Learns from the masks of the batches, whoever made them (`hedgeseg.data.PseudoMaskDataModule` puts pseudo-masks in
    the place of true ones); pixels of 255 are left out of loss and metric. Logs `train/loss`, `val/loss` and
    `val/miou`, the same under `test/`: PASCAL VOC's mean IoU, of counts pooled over the data set, over background and
    the classes that occur, at the size of the network's input.

    Args:
        num_classes: number of classes, background not counted.
        arch: "unet", a segmentation network of torchvision, or a classification architecture whose trunk gets a head.
        weights: see `build_segmentation_network`; None starts at random.
        freeze_trunk: of a classification architecture with weights: train the head alone.
        lr: largest learning rate of the one-cycle schedule.
        weight_decay: of AdamW.

    Raises:
        ValueError: unknown architecture, or weights that do not fit.
        FileNotFoundError: weights file missing.
    """

    def __init__(
        self,
        num_classes: int,
        arch: str = "unet",
        weights: str | None = None,
        freeze_trunk: bool = True,
        lr: float = 3e-3,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.num_classes = num_classes
        self.lr = lr
        self.weight_decay = weight_decay
        self.network = build_segmentation_network(arch, num_classes + 1, weights, freeze_trunk)
        self.val_metric = self._metric()
        self.test_metric = self._metric()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1 + K, H, W), background first, of normalised images (N, 3, H, W)."""
        return self.network(images)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        loss = self._loss(self(batch["image"]), self._masks(batch))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and mean IoU of a batch, logged over the epoch."""
        self._evaluate(batch, "val", self.val_metric)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same under `test/`."""
        self._evaluate(batch, "test", self.test_metric)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> torch.Tensor:
        """Masks uint8 (N, H, W) of a batch: 0 background, class + 1."""
        return self(batch["image"]).argmax(1).to(torch.uint8)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule over the whole training."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _evaluate(self, batch: Batch, stage: str, metric: MulticlassJaccardIndex) -> None:
        logits, masks = self(batch["image"]), self._masks(batch)
        size = len(logits)
        self.log(f"{stage}/loss", self._loss(logits, masks), batch_size=size, sync_dist=True)
        metric.update(logits.argmax(1), masks)
        self.log(f"{stage}/miou", metric, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)

    def _masks(self, batch: Batch) -> torch.Tensor:
        if "mask" not in batch:
            raise ValueError(
                "the batch has no masks to learn from: give a data set that has some, or a folder of pseudo-masks "
                "through hedgeseg.data.PseudoMaskDataModule"
            )
        return batch["mask"]

    @staticmethod
    def _loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        losses = F.cross_entropy(logits, masks, ignore_index=VOID, reduction="sum")
        # a batch without a single sure pixel teaches nothing; a mean over none would be NaN
        return losses / (masks != VOID).sum().clamp(min=1)

    def _metric(self) -> MulticlassJaccardIndex:
        return MulticlassJaccardIndex(self.num_classes + 1, average="macro", ignore_index=VOID, validate_args=False)
