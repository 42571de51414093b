"""What the callback adds to a training, with its default settings: the same fit with and without it, in turns.

    uv run benchmarks/callback_overhead.py quick_start --rounds 3
    uv run benchmarks/callback_overhead.py resnet50 --rounds 2 --batches 30

Two figures per fit with the callback: seconds inside its hooks over those of the fit, which noise hardly touches, and
the difference between the medians of both kinds of fit, which has everything in it. W&B logs offline in both.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_SILENT", "true")

import torch
import torchvision
import wandb
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import WandbLogger
from torch.utils.data import DataLoader, TensorDataset

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Classifier


class TimedCallback(HedgeCallback):
    """Adds up the seconds spent in its hooks."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.looks: list[float] = []
        self.images: list[int] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decides whether to look."""
        self.looks.append(0.0)
        self._timed(super().on_validation_start, trainer, pl_module)

    def on_validation_batch_end(self, *arguments: Any, **named: Any) -> None:
        """Picks images and explains them."""
        self._timed(super().on_validation_batch_end, *arguments, **named)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs and shows."""
        self._timed(super().on_validation_epoch_end, trainer, pl_module)
        self.images.append(int(trainer.callback_metrics.get("hedge/images", 0)))

    def _timed(self, hook: Callable[..., None], *arguments: Any, **named: Any) -> None:
        start = time.perf_counter()
        hook(*arguments, **named)
        if self.looks:
            self.looks[-1] += time.perf_counter() - start


class FineTuning(LightningModule):
    """A ResNet-50 as people train it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.resnet50(weights=None)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        """Cross-entropy."""
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: Any, index: int) -> None:
        """Logs the loss."""
        self.log("val/loss", self.training_step(batch, index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


class RandomImages(LightningDataModule):
    """Batches of eight at 224 px."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.train = TensorDataset(torch.randn(8 * batches, 3, 224, 224), torch.randint(0, 1000, (8 * batches,)))
        self.val = TensorDataset(torch.randn(16, 3, 224, 224), torch.randint(0, 1000, (16,)))

    def train_dataloader(self) -> DataLoader:
        """Shuffled."""
        return DataLoader(self.train, batch_size=8, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        """Two batches."""
        return DataLoader(self.val, batch_size=8)


def fit(kind: str, a: argparse.Namespace, callback: HedgeCallback | None) -> float:
    """Seconds of one fit."""
    seed_everything(0, verbose=False)
    if kind == "quick_start":
        data: LightningDataModule = ShapesDataModule(
            num_train=2000, num_val=200, num_predict=100, image_size=128, batch_size=32
        )
        model: LightningModule = Classifier(6, "small_cnn", task="multilabel", lr=0.005)
    else:
        data, model = RandomImages(a.batches), FineTuning()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=a.epochs,
            logger=WandbLogger(project="overhead", offline=True, save_dir=folder),
            callbacks=[callback] if callback else [],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            default_root_dir=folder,
            log_every_n_steps=10,
        )
        start = time.perf_counter()
        trainer.fit(model, data)
        seconds = time.perf_counter() - start
        wandb.finish()
    return seconds


def main() -> None:
    """Fit in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["quick_start", "resnet50"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batches", type=int, default=30, help="of eight images, per epoch of resnet50")
    parser.add_argument("--unlimited", action="store_true", help="explain all images whatever it takes")
    a = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    plain, watched = [], []
    for _ in range(a.rounds):
        plain.append(fit(a.kind, a, None))
        callback = TimedCallback(max_fraction=None) if a.unlimited else TimedCallback()
        watched.append(fit(a.kind, a, callback))
        share = sum(callback.looks) / watched[-1]
        looks = " ".join(f"{seconds:.2f}" for seconds in callback.looks)
        print(
            f"without {plain[-1]:.1f} s, with {watched[-1]:.1f} s; in the hooks {share:.2%} "
            f"(first look, of the sanity run, included: {looks} s; images {callback.images})",
            flush=True,
        )
    difference = statistics.median(watched) / statistics.median(plain) - 1
    print(f"{a.kind}: difference of medians {difference:+.2%}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
