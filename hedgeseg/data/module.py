"""What the data modules share: the loaders over a train, a validation and a prediction set."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Literal

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from hedgeseg.data.batch import Sample, collate
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.fit import Fit, size_pair, usual_fit
from hedgeseg.data.teachable import check_teachable
from hedgeseg.data.transforms import IMAGENET_MEAN, IMAGENET_STD, MIN_SCALE, Pipeline, eval_transform, train_transform
from hedgeseg.deprecation import warn_renamed


class ImageDataModule(LightningDataModule):
    """Base of the data modules: a subclass makes the three data sets in `setup`.

    Args:
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: of everything that is drawn.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`. With `short` and
            `long` they differ in shape, so that each needs a batch of its own.
        crop: learn from random squares of so many pixels of the picture whose short side is `image_size`, see
            `train_transform`.
        long_sides: with `crop`, range of the long side that the picture is scaled to first, see `train_transform`.
        min_scale: smallest share of a picture that a random crop keeps, see `train_transform`.

    Raises:
        ValueError: an argument out of range.

    Attributes:
        train_dataset: what `fit` learns from, shuffled; None where there is nothing to learn from.
        val_dataset: what `validate` looks at, in order.
        test_dataset: what `test` looks at, in order; None for the same as `validate`.
        predict_dataset: what `predict` makes seeds for, in order.
        predict_shard: `(i, n)`: `predict` sees only every n-th image from the i-th; None for all of them.
        predict_without: ids that the next `predict_dataloader` leaves out, since somebody is done with them.
        left_out: how many it left out.
        keep_shape: whether pictures that are looked at differ in shape, so that each needs a batch of its own.
        mean, std: the normalisation of the pixels, to undo it for drawing.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __init__(
        self,
        image_size: int | Sequence[int],
        batch_size: int,
        num_workers: int,
        seed: int,
        fit: Fit | None = None,
        crop: int | None = None,
        long_sides: Sequence[int] | None = None,
        min_scale: float = MIN_SCALE,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"batch_size must be >= 1 and num_workers >= 0, got {batch_size} and {num_workers}")
        self.image_size = size_pair(image_size)
        self.fit = usual_fit(image_size, fit)
        self.crop = crop
        self.long_sides = long_sides
        self.min_scale = min_scale
        self.keep_shape = self.fit in ("short", "long")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_dataset: LabelledImages | None = None
        self.val_dataset: LabelledImages | None = None
        self.test_dataset: LabelledImages | None = None
        self.predict_dataset: LabelledImages | None = None
        self.predict_shard: tuple[int, int] | None = None
        self.predict_without: frozenset[str] = frozenset()
        self.left_out = 0

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Class names, known before `setup`."""

    @property
    def learns_from(self) -> Literal["labels", "masks"] | None:
        """What the network of the trainer learns from, as far as it says so."""
        network = None if self.trainer is None else self.trainer.lightning_module
        return getattr(network, "learns_from", None)

    @property
    def eval_transform(self) -> Pipeline:
        """The pipeline of images that are looked at."""
        return self._overridden("still") or eval_transform(self.image_size, self.mean, self.std, fit=self.fit)

    @property
    def train_transform(self) -> Pipeline:
        """The pipeline of images that are learnt from."""
        return self._overridden("moving") or self._learning_transform()

    @property
    def still(self) -> Pipeline:
        """The old name of `eval_transform`."""
        warn_renamed("still", "eval_transform")
        return self.eval_transform

    @property
    def moving(self) -> Pipeline:
        """The old name of `train_transform`."""
        warn_renamed("moving", "train_transform")
        return self.train_transform

    def _learning_transform(self) -> Pipeline:
        return train_transform(self.image_size, self.mean, self.std, self.min_scale, self.crop, self.long_sides)

    def _overridden(self, old: str) -> Pipeline | None:
        """What a subclass gives by an old name."""
        if getattr(type(self), old) is getattr(ImageDataModule, old):
            return None
        warn_renamed(f"{type(self).__name__}.{old}", {"still": "eval_transform", "moving": "train_transform"}[old])
        return getattr(self, old)

    @property
    def num_classes(self) -> int:
        """Number of classes, background not counted."""
        return len(self.classes)

    def check_lesson(self, source: str) -> None:
        """Look whether labels can be learnt from the training set, before a fit.

        Args:
            source: what messages call the data.

        Raises:
            ValueError: as `check_teachable` has it, where a classifier is to learn it; else that is a warning, and
                nothing where masks are learnt from.
        """
        if self.train_dataset is None or self.learns_from == "masks":
            return
        learnt, *rest = (
            [data.labels(i) for i in range(len(data))]
            for data in (self.train_dataset, self.val_dataset, self.test_dataset)
            if data is not None
        )
        try:
            check_teachable(self.classes, learnt, [labels for part in rest for labels in part], source)
        except ValueError as error:
            if self.learns_from == "labels":
                raise
            warnings.warn(str(error), stacklevel=3)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled batches of the training set; an incomplete last batch, which batch norm suffers from, is dropped.

        Masks are not opened for a network that learns from labels.
        """
        dataset = self._ready(self.train_dataset, "train")
        if self.learns_from == "labels" and dataset.masks:
            dataset = copy(dataset)
            dataset.masks = False
        return self._loader(dataset, shuffle=True, drop_last=len(dataset) > self.batch_size)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Batches of the validation set in order."""
        return self._loader(self._ready(self.val_dataset, "validation"))

    def test_dataloader(self) -> DataLoader[Sample]:
        """Batches of the test set in order; of the validation set where there is no third split."""
        return self._loader(self._ready(self.test_dataset or self.val_dataset, "test"))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Batches of the prediction set in order, or of its shard, without `predict_without`."""
        dataset = self._ready(self.predict_dataset, "prediction")
        if self.predict_shard is not None:
            dataset = _part(dataset, *self.predict_shard)
        without, self.predict_without = self.predict_without, frozenset()
        # One stays, so that Lightning runs, and settings are compared, though everything is done.
        wanted = [index for index, name in enumerate(dataset.ids) if name not in without] or [0]
        self.left_out = len(dataset) - len(wanted)
        if self.left_out:
            dataset = ImageSubset(dataset, wanted, dataset.transform, dataset.random, dataset.masks)
        return self._loader(dataset)

    def _ready(self, dataset: LabelledImages | None, name: str) -> LabelledImages:
        if dataset is None:
            raise RuntimeError(
                f"{type(self).__name__} has no {name} set: call setup() first, and check that its arguments "
                "keep images for it"
            )
        return dataset

    def _loader(self, dataset: LabelledImages, shuffle: bool = False, drop_last: bool = False) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=1 if self.keep_shape and not dataset.random else self.batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
        )


def _part(dataset: LabelledImages, index: int, count: int) -> LabelledImages:
    positions = range(index, len(dataset), count)
    if not positions:
        raise ValueError(f"shard {index}/{count} of {len(dataset)} images is empty: use {len(dataset)} shards or fewer")
    return ImageSubset(dataset, positions, dataset.transform, dataset.random, dataset.masks)
