"""The classifier that is trained, watched and explained."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from hedgeseg.data.batch import Batch
from hedgeseg.data.feature_cache import Features, weights_digest
from hedgeseg.models.architectures import head_name, rectified_head, replace_head
from hedgeseg.models.class_names import check_same, names_in, names_of_weights
from hedgeseg.models.classifier_network import classifier_network
from hedgeseg.models.freezing import batch_norms, frozen_modules, has_folded_norms
from hedgeseg.models.fully_convolutional import Pooling
from hedgeseg.models.head_input import head_input, learnt_head
from hedgeseg.models.losses import MULTILABEL_LOSSES
from hedgeseg.models.mean_average_precision import MeanAveragePrecision
from hedgeseg.models.optimizing import at_two_speeds


class Classifier(LightningModule):
    """An image classifier with its loss, metric and schedule; `forward` gives logits.

    Logs `train/loss`, `val/loss` and `val/map` (multi-label: mean average precision over the classes that occur) or
    `val/accuracy` (multi-class), either also as `val/score`; the same under `test/`. Averaged weights (EMA)
    come with Lightning's own callback, `lightning.pytorch.callbacks.EMAWeightAveraging`.

    Names of the classes are kept with the hyperparameters, so that a checkpoint is refused by data of other classes.

    Args:
        num_classes: number of classes, background not counted; None for as many as `classes` names. `train.py` takes
            number, names and task from the data.
        arch: name of a torchvision classification architecture, "timm/<name>", or "small_cnn".
        weights: torchvision's name of the weights, or the path of a state dict or checkpoint; None starts at random.
        task: "multilabel" (as without it) for multi-hot labels, "multiclass" for one class index per image.
        groups: JSON file `{class: [ImageNet indices]}`: the network keeps its 1000 ImageNet logits and gives the
            classes' logits as their log-sum-exp; a class without indices is never predicted.
        classes: names of the classes in their order, needed with `groups` unless they are VOC's; None takes those of
            the data.
        fully_convolutional: for VGG and AlexNet: their fully connected layers slide over images of any size, and the
            logits of the positions are pooled by "mean", "sum" or "logsumexp"; None squeezes larger feature maps to the
            size these layers were made for, as torchvision does.
        loss: of multi-label training: "bce", "soft_margin" (the same under another name) or "focal".
        freeze: names of modules of the network that keep their weights and batch norm statistics, such as "features.0".
        freeze_batch_norm: all batch norms keep their statistics, while their scales and shifts learn: for small
            batches, and for weights whose statistics were folded into the convolutions.
        output_stride: 8 or 16 for feature maps of this stride instead of the network's own, usually 32: finer maps from
            the same weights, with dilated kernels, at several times the cost (`hedgeseg.models.output_stride`).
        optimizer: "adamw" under a one-cycle schedule, or "sgd", whose rate falls with the power 0.9 of what is left of
            the training ("poly"), as in the training of most weakly supervised segmentation.
        lr: largest learning rate of the schedule.
        head_lr_factor: how many times as fast the last layer learns, which starts from nothing where the others know
            much: 10 to 100 in fine-tuning.
        weight_decay: of the optimizer.

    Raises:
        ValueError: unknown architecture, task, loss or frozen module, weights that do not fit, groups that do not fit
            the classes.
        FileNotFoundError: weights or groups file missing.
    """

    learns_from = "labels"

    def __init__(
        self,
        num_classes: int | None = None,
        arch: str = "small_cnn",
        weights: str | None = None,
        task: Literal["multilabel", "multiclass"] | None = None,
        groups: str | None = None,
        classes: list[str] | None = None,
        fully_convolutional: Pooling | None = None,
        loss: Literal["bce", "soft_margin", "focal"] = "bce",
        freeze: list[str] | None = None,
        freeze_batch_norm: bool = False,
        output_stride: int | None = None,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        lr: float = 1e-3,
        head_lr_factor: float = 1.0,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        if num_classes is None:
            if not classes:
                raise ValueError(
                    "how many classes? Give num_classes or classes, or let train.py take them from the data"
                )
            num_classes = len(classes)
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"{len(classes)} class names for num_classes={num_classes}: {classes}")
        task = "multilabel" if task is None else task
        if task not in ("multilabel", "multiclass"):
            raise ValueError(f"task must be 'multilabel' or 'multiclass', got {task!r}")
        if loss not in MULTILABEL_LOSSES:
            raise ValueError(f"loss must be one of {sorted(MULTILABEL_LOSSES)}, got {loss!r}")
        if optimizer not in ("adamw", "sgd"):
            raise ValueError(f"optimizer must be 'adamw' or 'sgd', got {optimizer!r}")
        self.save_hyperparameters()
        self.num_classes = num_classes
        self.classes = tuple(classes or ())
        self._learnt_classes = () if groups else names_of_weights(weights)
        self.task = task
        self.lr = lr
        self.head_lr_factor = head_lr_factor
        self.weight_decay = weight_decay
        self.loss = loss
        self.optimizer = optimizer
        self.network = classifier_network(
            arch, num_classes, weights, groups, classes, fully_convolutional, output_stride
        )
        self._frozen = frozen_modules(self.network, freeze or [])
        if freeze_batch_norm:
            self._frozen += batch_norms(self.network)
        self._folded = weights is not None and not freeze_batch_norm and has_folded_norms(self.network)
        self.train()  # Lightning leaves modules in the mode it finds them in
        self.val_metric = self._metric()
        self.test_metric = self._metric()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, K) of normalised images (N, 3, H, W)."""
        return self.network(images)

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; frozen modules stay in evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def setup(self, stage: str) -> None:
        """Compares classes and task with those of the data module, as far as it tells them, and takes its names.

        Raises:
            ValueError: they differ; the message holds both.
        """
        data = getattr(self.trainer, "datamodule", None)
        names = _names(data)
        found = getattr(data, "num_classes", self.num_classes)
        if found != self.num_classes:
            raise ValueError(
                f"the data have {found} classes, the classifier has num_classes={self.num_classes}: "
                f"{list(names)} in the data, {list(self.classes) or 'no names'} in the classifier"
            )
        check_same(self.classes, names, "the data are", "the classifier is")
        if names and not self.classes:
            self.classes = names
            self.hparams["classes"] = list(names)
        if stage == "fit":
            self._renew_head()
        else:
            check_same(self.classes, self._learnt_classes, "the weights are", "the data are")
        task = getattr(data, "task", None)
        if task is not None and task != self.task:
            raise ValueError(f"the data are {task}, the classifier's task is {self.task!r}: give task {task!r}")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other classes.

        Raises:
            ValueError: its classes have other names, or another order.
        """
        check_same(self.classes, names_in(checkpoint), "the checkpoint is", "the classifier is")

    def _renew_head(self) -> None:
        """An untrained last layer where the weights' own was learnt on as many classes of other names."""
        if self._learnt_classes and self.classes and self._learnt_classes != self.classes:
            if len(self._learnt_classes) == self.num_classes:
                replace_head(self.network, self.num_classes)
            rank_zero_warn(
                f"the weights are of the classes {list(self._learnt_classes)}, the data of {list(self.classes)}: the "
                "last layer starts untrained"
            )
            self._learnt_classes = ()

    def on_fit_start(self) -> None:
        """Warns of weights that training would destroy, and of logits that cannot learn to say no."""
        rectified = rectified_head(self.network) if self.task == "multilabel" else None
        if rectified is not None:
            rank_zero_warn(
                f"the logits of {type(self.network).__name__} cannot be negative ({rectified} is a ReLU): with a "
                "multi-label loss it cannot say that a class is absent, and where they reach zero nothing is learnt. "
                f"Take another architecture, or put nn.Identity() in the place of {rectified}"
            )
        if self._folded:
            rank_zero_warn(
                "the statistics of all batch norms in these weights are 0 and 1: they seem to be folded into the "
                "convolutions, and training would replace them by those of its batches. Give freeze_batch_norm=True"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Loss of a batch."""
        logits = self._logits(batch)
        loss = self._loss(logits, batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and metric of a batch, logged over the epoch."""
        self._evaluate(batch, "val", self.val_metric)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same under `test/`."""
        self._evaluate(batch, "test", self.test_metric)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> torch.Tensor:
        """Logits (N, K) of a batch."""
        return self(batch["image"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer, and a schedule over the whole training."""
        head = self.network.get_submodule(head_name(self.network)).parameters()
        return at_two_speeds(
            self, head, lr=self.lr, factor=self.head_lr_factor, weight_decay=self.weight_decay, kind=self.optimizer
        )

    def _evaluate(self, batch: Batch, stage: str, metric: Metric) -> None:
        logits, label = self._logits(batch), batch["label"]
        size = len(logits)
        self.log(f"{stage}/loss", self._loss(logits, label), batch_size=size, sync_dist=True)
        metric.update(logits.float(), label.long())
        name = "map" if self.task == "multilabel" else "accuracy"
        self.log(f"{stage}/{name}", metric, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        # under one name for both tasks: what a configuration chooses checkpoints by, whatever its data are
        self.log(f"{stage}/score", metric, on_step=False, on_epoch=True, batch_size=size)

    def frozen_part(self) -> tuple[Features, str] | None:
        """What is the same in every step, as a function from images to features, and the name of its weights.

        None unless the head alone is learnt. `hedgeseg.data.feature_cache` keeps what the function gives.
        """
        name = learnt_head(self.network)
        if name is None:
            return None
        below = {key: value for key, value in self.network.state_dict().items() if not key.startswith(f"{name}.")}
        return lambda images: [head_input(self.network, name, images)], f"head of {weights_digest(below)}"

    def _logits(self, batch: Batch) -> torch.Tensor:
        """Of the images of a batch, or of what their head is given in their place."""
        if "features" not in batch:
            return self(batch["image"])
        return self.network.get_submodule(head_name(self.network).partition(".")[0])(batch["features"][0])

    def _loss(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        expected = logits.shape if self.task == "multilabel" else logits.shape[:1]
        if label.shape != expected:
            raise ValueError(
                f"labels of shape {tuple(label.shape)} for {self.task} logits of shape {tuple(logits.shape)}: "
                f"num_classes={self.num_classes} or task does not match the data"
            )
        if self.task == "multilabel":
            return MULTILABEL_LOSSES[self.loss](logits, label)
        return F.cross_entropy(logits, label)

    def _metric(self) -> Metric:
        if self.task == "multilabel":
            return MeanAveragePrecision(self.num_classes)
        return MulticlassAccuracy(self.num_classes, average="micro")


def _names(data: Any) -> tuple[str, ...]:
    """Class names of a data module, if it has them."""
    names = getattr(data, "classes", None)
    return tuple(names) if isinstance(names, Sequence) and all(isinstance(name, str) for name in names) else ()
