"""The segmentation network that learns from masks, true or pseudo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.data.batch import Batch, void_id
from hedgeseg.data.feature_cache import Features, weights_digest
from hedgeseg.data.label_counts import label_counts
from hedgeseg.models.freezing import batch_norms
from hedgeseg.models.image_gate import ImageGate, gated
from hedgeseg.models.optimizing import at_two_speeds
from hedgeseg.models.segmentation_losses import dice_loss, frequency_weights, pixel_loss
from hedgeseg.models.segmentation_networks import build_segmentation_network
from hedgeseg.models.stored_segmenter import read_stored
from hedgeseg.models.trunk_head import TrunkHead

INPUT = "hedgeseg_input"
"""Key of a checkpoint under which it tells what its network was shown."""

_ORIGIN = ("classes", "image_size", "mean", "std", "fit")


class Segmenter(LightningModule):
    """A segmentation network with its loss, metrics and schedule; `forward` gives logits (N, 1 + classes, H, W).

    Learns from the masks of the batches, whoever made them (`hedgeseg.data.PseudoMaskDataModule` puts pseudo-masks in
    the place of true ones); void pixels (255, beside more than 254 classes 65535) are left out of loss and metric.
    Logs `train/loss`, `val/loss` and PASCAL VOC's mean IoU, of counts pooled over the data set, over background and the
    classes that occur, at the size of the network's input: as `val/miou` where the validation images have true masks,
    as `val/pseudo_miou` where the masks were made from labels (`pseudo` in the batch). The same under `test/`.

    A checkpoint tells class names, size and normalisation of the images, so `hedgeseg segment` needs nothing beside it.

    Args:
        num_classes: number of classes, background not counted.
        arch: "unet", a segmentation network of torchvision, or a classification architecture of torchvision or
            "timm/<name>" whose trunk gets a light decoder.
        weights: of the trunk, see `build_segmentation_network`; None starts at random.
        freeze_trunk: train the head alone; None does so for a classification architecture with weights.
        freeze_batch_norm: batch norms of a trunk that is trained keep their statistics.
        loss: "cross_entropy" or "focal" (gamma 2).
        balance: how far rare labels weigh more, from 0 (every pixel the same) to 1 (every label the same in total).
        dice: weight of the Dice loss that is added.
        lr: largest learning rate of the one-cycle schedule.
        head_lr_factor: how many times as fast the head learns as a trunk that is trained.
        weight_decay: of AdamW.
        loss_stride: the loss in training looks at every so-manieth pixel in either direction: between the cells of a
            decoder logits are interpolated, and most of the cost of a light one is the loss at every pixel.
        gate: checkpoint of a `Classifier` of the same classes, whose image-level log-probabilities are added to the
            classes' logits in `forward` outside of training (`hedgeseg.models.image_gate`); the segmenter's own
            checkpoint holds it from then on. Loss and validation see the network without it.
        gate_strength: factor of the log-probabilities.
        gate_arch: architecture of a gate whose weights come with the state; filled in by itself.
        gate_multiclass: whether that one knows one class per image; filled in by itself.

    Raises:
        ValueError: unknown architecture or loss, a value out of range, or weights that do not fit.
        FileNotFoundError: weights file missing.
    """

    label_weights: torch.Tensor

    learns_from = "masks"

    def __init__(
        self,
        num_classes: int,
        arch: str = "unet",
        weights: str | None = None,
        freeze_trunk: bool | None = None,
        freeze_batch_norm: bool = False,
        loss: Literal["cross_entropy", "focal"] = "cross_entropy",
        balance: float = 0.0,
        dice: float = 0.0,
        lr: float = 3e-3,
        head_lr_factor: float = 1.0,
        weight_decay: float = 1e-4,
        loss_stride: int = 1,
        gate: str | None = None,
        gate_strength: float = 1.0,
        gate_arch: str | None = None,
        gate_multiclass: bool = False,
    ) -> None:
        super().__init__()
        if gate_strength < 0 or loss_stride < 1:
            raise ValueError(
                f"gate_strength must not be negative, loss_stride at least 1, got {gate_strength} and {loss_stride}"
            )
        if loss not in ("cross_entropy", "focal"):
            raise ValueError(f"loss must be 'cross_entropy' or 'focal', got {loss!r}")
        if not 0 <= balance <= 1 or dice < 0:
            raise ValueError(f"balance must lie in [0, 1] and dice must not be negative, got {balance} and {dice}")
        self.save_hyperparameters()
        self.num_classes = num_classes
        self.void = void_id(num_classes)
        self.focus = 2.0 if loss == "focal" else 0.0
        self.balance = balance
        self.dice = dice
        self.lr = lr
        self.head_lr_factor = head_lr_factor
        self.weight_decay = weight_decay
        self.network = build_segmentation_network(arch, num_classes + 1, weights, freeze_trunk)
        trunk = getattr(self.network, "trunk", None)
        self._still = batch_norms(trunk) if freeze_batch_norm and trunk is not None else []
        self.loss_stride = loss_stride
        self.gate_strength = gate_strength
        self.gate: ImageGate | None = None
        if gate is not None:
            self.gate, gate_arch = ImageGate.read(gate, num_classes)
            self.save_hyperparameters({"gate_arch": gate_arch, "gate_multiclass": self.gate.multiclass})
        elif gate_arch is not None:
            self.gate = ImageGate(gate_arch, num_classes, gate_multiclass)
        self.register_buffer("label_weights", torch.ones(num_classes + 1))
        self.input: dict[str, Any] = {}
        self.train()  # Lightning leaves modules in the mode it finds them in
        self.metrics = nn.ModuleDict(
            {f"{stage}_{name}": self._metric() for stage in ("val", "test") for name in ("miou", "pseudo_miou")}
        )

    @classmethod
    def load(cls, checkpoint: str | Path) -> Segmenter:
        """Reads a checkpoint for prediction; the file its trunk once started from is not needed any more.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a checkpoint of a Segmenter.
        """
        options, content = read_stored(checkpoint)
        module = cls(**options)
        module.load_state_dict(content["state_dict"])
        module.on_load_checkpoint(content)
        return module.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the training data told them."""
        return tuple(self.input.get("classes", ()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1 + K, H, W), background first, of normalised images (N, 3, H, W); gated outside of training."""
        logits = self.network(images)
        if self.gate is None or self.training:
            return logits
        return gated(logits, self.gate(images), self.gate_strength)

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; batch norms that keep their statistics stay in evaluation."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def setup(self, stage: str) -> None:
        """Notes what the data look like; for a balanced loss counts the labels of the training masks.

        Raises:
            ValueError: the data have another number of classes.
        """
        data = getattr(self.trainer, "datamodule", None)
        found = getattr(data, "num_classes", self.num_classes)
        if found != self.num_classes:
            raise ValueError(f"the data have {found} classes, the segmenter has num_classes={self.num_classes}")
        if stage != "fit":
            return
        self.input = {key: _plain(getattr(data, key)) for key in _ORIGIN if hasattr(data, key)}
        if self.balance:
            dataset = getattr(data, "train_dataset", None)
            if dataset is None or not hasattr(dataset, "mask"):
                raise ValueError("balance counts the training masks: give a data module of hedgeseg.data, or balance=0")
            self.label_weights.copy_(frequency_weights(label_counts(dataset), self.balance))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the images must look like."""
        checkpoint[INPUT] = self.input

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reads it back."""
        self.input = dict(checkpoint.get(INPUT, {}))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        masks, step = self._masks(batch), self.loss_stride
        masks = masks[:, step // 2 :: step, step // 2 :: step]
        logits = self._logits(batch, (int(masks.shape[1]), int(masks.shape[2])))
        loss = self._loss(logits, masks)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and mean IoU of a batch, logged over the epoch."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same under `test/`."""
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> torch.Tensor:
        """Masks (N, H, W) of a batch, 0 background, class + 1: uint8, or int32 beside more than 254 classes."""
        labels = self(batch["image"]).argmax(1)
        return labels.to(torch.uint8 if self.void == 255 else torch.int32)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule over the whole training."""
        trunk = getattr(self.network, "trunk", None)
        slow = set() if trunk is None else set(trunk.parameters())
        head = (parameter for parameter in self.parameters() if parameter not in slow)
        return at_two_speeds(self, head, lr=self.lr, factor=self.head_lr_factor, weight_decay=self.weight_decay)

    def _evaluate(self, batch: Batch, stage: str) -> None:
        logits, masks = self._logits(batch), self._masks(batch)
        size = len(logits)
        self.log(f"{stage}/loss", self._loss(logits, masks), batch_size=size, sync_dist=True)
        name = "pseudo_miou" if bool(torch.as_tensor(batch.get("pseudo", False)).any()) else "miou"
        metric = self.metrics[f"{stage}_{name}"]
        assert isinstance(metric, MulticlassJaccardIndex)
        metric.update(logits.argmax(1), masks)
        self.log(f"{stage}/{name}", metric, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)

    def frozen_part(self) -> tuple[Features, str] | None:
        """What is the same in every step, as a function from images to features, and the name of its weights.

        None where all of the network is learnt. `hedgeseg.data.feature_cache` keeps what the function gives.
        """
        if not (isinstance(self.network, TrunkHead) and self.network.frozen):
            return None
        return self.network.features, f"{type(self.network).__name__} {weights_digest(self.network.trunk.state_dict())}"

    def _logits(self, batch: Batch, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Of the images of a batch, or of the features it has in their place; without `size` at that of the images."""
        if "features" in batch:
            assert isinstance(self.network, TrunkHead)
            return self.network.decode(batch["features"], size or batch["shape"]).float()
        if isinstance(self.network, TrunkHead) and size is not None:
            return self.network.decode(self.network.features(batch["image"]), size).float()
        # what watches a training sees the network without its gate
        logits = (self if self.gate is None else self.network)(batch["image"]).float()
        return logits if size is None or logits.shape[-2:] == size else _sampled(logits, size, self.loss_stride)

    def _masks(self, batch: Batch) -> torch.Tensor:
        if "mask" not in batch:
            raise ValueError(
                "the batch has no masks to learn from: give a data set that has some, or a folder of pseudo-masks "
                "through hedgeseg.data.PseudoMaskDataModule"
            )
        return batch["mask"]

    def _loss(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        weights = self.label_weights if self.balance else None
        loss = pixel_loss(logits, masks, self.void, weights, self.focus)
        return loss + self.dice * dice_loss(logits, masks, self.void) if self.dice else loss

    def _metric(self) -> MulticlassJaccardIndex:
        return MulticlassJaccardIndex(
            self.num_classes + 1, average="macro", ignore_index=self.void, validate_args=False
        )


def _sampled(logits: torch.Tensor, size: tuple[int, int], step: int) -> torch.Tensor:
    """Every so-manieth pixel of logits at the size of the images."""
    return logits[:, :, step // 2 :: step, step // 2 :: step][:, :, : size[0], : size[1]]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
