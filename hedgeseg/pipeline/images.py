"""The images of a pipeline: which are learnt from, which are held back, and how a network is shown them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from hedgeseg.data import (
    ImageDataModule,
    ImageSubset,
    LabelledImages,
    PseudoMasked,
    collate,
)
from hedgeseg.data.batch import VOID
from hedgeseg.data.feature_loaders import learning_loader, running_epoch, watching_loader
from hedgeseg.data.fit import Fit
from hedgeseg.data.joined import JoinedImages
from hedgeseg.data.transforms import MIN_SCALE
from hedgeseg.models.input_statistics import Statistics
from hedgeseg.pipeline.repeatable import RepeatableImages, RepeatableOrder


class LabelsOnly(ImageSubset):
    """Images of a data set without their masks: whoever learns from labels never sees one."""

    def mask(self, index: int) -> None:
        """Not told."""


class TrueMasks(ImageSubset):
    """Images of a data set with their masks; those without any class are background all over."""

    def mask(self, index: int) -> np.ndarray | None:
        """The source's mask."""
        mask = self.source.mask(self.indices[index])
        if mask is None and not self.labels(index):
            return np.zeros(self.image(index).shape[:2], np.uint8 if self.void == VOID else np.uint16)
        return mask


class PipelineImages:
    """Training and validation images of a data module, as the stages take them.

    Args:
        module: any data module of the project; its transforms are not used.
        masks: whether the images come with their true masks.

    Attributes:
        classes: names, background not counted.
        train: images to learn from.
        val: images that are held back.
        everything: both.

    Raises:
        ValueError: there is nothing to learn from, or nothing held back.
    """

    def __init__(self, module: ImageDataModule, masks: bool = False) -> None:
        module.prepare_data()
        module.setup("fit")
        if module.train_dataset is None or module.val_dataset is None:
            raise ValueError(
                f"{type(module).__name__} has no images to learn from or none held back: give it a train_fraction"
            )
        self.module = module
        self.classes = module.classes
        kind = TrueMasks if masks else LabelsOnly
        learnt, watched = module.train_dataset, module.val_dataset
        held_back = set(watched.ids)
        self.val: LabelledImages = kind(watched, range(len(watched)))
        self.train: LabelledImages = kind(
            learnt, [index for index, name in enumerate(learnt.ids) if name not in held_back]
        )
        self.everything: LabelledImages = JoinedImages([self.train, self.val])

    def fingerprint(self) -> str:
        """Hash of classes, names and labels of the images: with others, what was made of them is stale."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for dataset in (self.train, self.val):
            rows = [(name, dataset.labels(index)) for index, name in enumerate(dataset.ids)]
            digest.update(repr(rows).encode())
        return digest.hexdigest()


class StageData(ImageDataModule):
    """Given data sets, shown to a network at one size.

    Args:
        images: whose classes these are.
        statistics: mean and standard deviation of what the network is shown.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        train: to learn from, augmented.
        val: to watch.
        predict: to write something for.
        augment: random crops, mirroring and colours for what is learnt from.
        seed: of order and augmentation.
        fit: how pictures that are looked at are fitted to the size, see `hedgeseg.data.fit`.
        crop: learn from random squares of so many pixels, see `train_transform`.
        min_scale: smallest share of a picture that a random crop keeps.
        views: draws of the augmentation per image, see `hedgeseg.data.views`; None draws anew in every epoch.
        features: folder in which the features of the views are kept, where the network has a frozen part.
        progress: show a bar while they are computed.
    """

    def __init__(
        self,
        images: PipelineImages,
        statistics: Statistics,
        image_size: int | Sequence[int],
        batch_size: int,
        num_workers: int = 0,
        *,
        train: LabelledImages | None = None,
        val: LabelledImages | None = None,
        predict: LabelledImages | None = None,
        augment: bool = True,
        seed: int = 0,
        fit: Fit | None = None,
        crop: int | None = None,
        min_scale: float = MIN_SCALE,
        views: int | None = None,
        features: Path | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, fit, crop, min_scale=min_scale)
        self.mean, self.std = statistics
        self.views = views
        self.features = features
        self.progress = progress
        self.names = images.classes
        still = self.eval_transform
        moving = self.train_transform if augment else still
        self.train_dataset = _shown(train, moving, augment)
        self.val_dataset = _shown(val, still)
        self.predict_dataset = _shown(predict, still)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.names

    def train_dataloader(self) -> Any:
        """Batches to learn from, in an order that a resumed run repeats."""
        dataset = self._ready(self.train_dataset, "train")
        if self.views is not None:
            told: dict[str, Any] = {"batch_size": self.batch_size, "num_workers": self.num_workers}
            told["progress"] = self.progress
            return learning_loader(self, dataset, self.views, self.features, seed=self.seed, **told)
        return DataLoader(
            RepeatableImages(dataset),
            batch_size=self.batch_size,
            sampler=RepeatableOrder(len(dataset), self.seed, lambda: running_epoch(self)),
            drop_last=len(dataset) > self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
        )

    def val_dataloader(self) -> Any:
        """Batches of the validation set, if there is one."""
        if self.val_dataset is None:
            return []
        if self.views is None or self.features is None or self.keep_shape:
            return super().val_dataloader()
        told: dict[str, Any] = {"batch_size": self.batch_size, "num_workers": self.num_workers}
        told["progress"] = self.progress
        return watching_loader(self, self.val_dataset, self.features, **told)


def unfinished(dataset: LabelledImages, done: Sequence[bool]) -> LabelledImages | None:
    """The images that are not done; None if all are."""
    left = [index for index, there in enumerate(done) if not there]
    return ImageSubset(dataset, left) if left else None


def _shown(dataset: LabelledImages | None, transform: Any, random: bool = False) -> LabelledImages | None:
    """The same images and masks behind a pipeline of their own."""
    if dataset is None:
        return None
    if isinstance(dataset, PseudoMasked):
        return dataset.shown(transform, random)
    return ImageSubset(dataset, range(len(dataset)), transform, random)
