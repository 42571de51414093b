"""Some classes of a data set: the others are neither learnt nor counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hedgeseg.data.batch import void_id
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.transforms import Pipeline


class SelectedClasses(LabelledImages):
    """The images of a data set that show one of the chosen classes; labels, masks and boxes hold these alone.

    Args:
        source: the whole data set.
        classes: names of the chosen classes, in their new order.
        others: what pixels of other classes become: "void", so that they count nowhere, or "background".
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.

    Raises:
        ValueError: a name that the data set does not have, or a choice that no image shows.
    """

    def __init__(
        self,
        source: LabelledImages,
        classes: Sequence[str],
        others: Literal["void", "background"] = "void",
        transform: Pipeline | None = None,
        random: bool = False,
    ) -> None:
        if others not in ("void", "background"):
            raise ValueError(f"others is 'void' or 'background', got {others!r}")
        self.old = chosen(source.classes, classes)
        self.new = {old: new for new, old in enumerate(self.old)}
        self.source = source
        self.indices = [i for i in range(len(source)) if any(label in self.new for label in source.labels(i))]
        super().__init__(classes, [source.ids[i] for i in self.indices], transform, random)
        self.task = source.task
        void = void_id(len(self.classes))
        self._ids = np.full(max(len(source.classes) + 1, source.void + 1), void if others == "void" else 0, np.int64)
        self._ids[0], self._ids[source.void] = 0, void
        for old, new in self.new.items():
            self._ids[old + 1] = new + 1

    def image(self, index: int) -> np.ndarray:
        """The source's image."""
        return self.source.image(self.indices[index])

    def mask(self, index: int) -> np.ndarray | None:
        """The source's mask in the new ids."""
        mask = self.source.mask(self.indices[index])
        return None if mask is None else self._ids[mask].astype(np.uint8 if self.void == 255 else np.uint16)

    def labels(self, index: int) -> tuple[int, ...]:
        """The chosen ones of the source's labels."""
        return tuple(sorted(self.new[old] for old in self.source.labels(self.indices[index]) if old in self.new))

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The source's boxes of the chosen classes."""
        boxes, labels = self.source.boxes(self.indices[index])
        kept = np.isin(labels, self.old)
        return boxes[kept], np.array([self.new[int(label)] for label in labels[kept]], np.int64)


class SelectedDataModule(ImageDataModule):
    """A data module of which some classes are taken.

    Args:
        data: the data module with all classes.
        classes: names of the chosen ones, in their new order.
        others: see `SelectedClasses`.
    """

    def __init__(
        self, data: ImageDataModule, classes: list[str], others: Literal["void", "background"] = "void"
    ) -> None:
        super().__init__(data.image_size, data.batch_size, data.num_workers, data.seed, data.fit, data.crop)
        self.save_hyperparameters(ignore=["data"])
        chosen(data.classes, classes)
        self.data = data
        self.names = tuple(classes)
        self.others: Literal["void", "background"] = others
        self.mean, self.std = data.mean, data.std

    @property
    def classes(self) -> tuple[str, ...]:
        """The chosen ones."""
        return self.names

    def prepare_data(self) -> None:
        """What the wrapped data module does."""
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Leaves out the images that show none of them."""
        self.data.setup("validate")  # whether something can be learnt is asked of the chosen classes
        self.train_dataset = self._selected(self.data.train_dataset)
        self.val_dataset = self._selected(self.data.val_dataset)
        self.predict_dataset = self._selected(self.data.predict_dataset)
        if stage == "fit":
            self.check_lesson(type(self.data).__name__)

    def _selected(self, dataset: LabelledImages | None) -> SelectedClasses | None:
        if dataset is None:
            return None
        chosen_ones = SelectedClasses(dataset, self.names, self.others, dataset.transform, dataset.random)
        chosen_ones.masks = dataset.masks
        return chosen_ones


def chosen(known: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Indices of the wanted names.

    Raises:
        ValueError: none is wanted, one occurs twice, or is not known.
    """
    strange: list[Any] = [name for name in wanted if name not in known]
    if strange or not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"choose different ones of the classes {list(known)}, got {list(wanted)}")
    return [list(known).index(name) for name in wanted]
