"""Order and augmentation of the images of an epoch as a function of seed, epoch and image alone.

So it does not matter whether the run before was killed, nor how many processes read images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import Dataset, Sampler

from hedgeseg.data.batch import Sample
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.views import mixed

Draw = tuple[int, int]
"""Position of an image, and the seed of what is drawn for it."""


class RepeatableOrder(Sampler[Draw]):
    """All images in an order of their own for every epoch.

    Args:
        count: number of images.
        seed: of the run.
        epoch: tells the number of the epoch.
    """

    def __init__(self, count: int, seed: int, epoch: Callable[[], int]) -> None:
        self.count = count
        self.seed = seed
        self.epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(mixed(self.seed, self.epoch()))
        order = torch.randperm(self.count, generator=generator).tolist()
        draws = torch.randint(2**62, (self.count,), generator=generator).tolist()
        return iter(zip(order, draws, strict=True))

    def __len__(self) -> int:
        return self.count


class RepeatableImages(Dataset[Sample]):
    """A data set whose pipeline draws from a seed that comes with the position.

    Args:
        source: the data set.
    """

    def __init__(self, source: LabelledImages) -> None:
        self.source = source

    def __getitem__(self, draw: Draw) -> Sample:
        index, seed = draw
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.source[index]

    def __len__(self) -> int:
        return len(self.source)


class StepSeed(Callback):
    """What a network draws in a step (dropout) depends on the number of the step alone.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Before the forward pass."""
        torch.manual_seed(mixed(self.seed, trainer.global_step))
