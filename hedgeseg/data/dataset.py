"""What every data set of the project is: numbered images with labels, boxes and, maybe, masks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from hedgeseg.data.batch import VOID, Sample, void_id
from hedgeseg.data.report import LoadReport
from hedgeseg.data.transforms import Pipeline, content_size, reseed

Task = Literal["multilabel", "multiclass"]


class LabelledImages(Dataset[Sample], ABC):
    """Images in a fixed order; subclasses say where pixels and annotations come from.

    Attributes:
        classes: names; the position is the class index, and mask id - 1.
        ids: name of each image, unique.
        task: "multilabel" gives multi-hot labels, "multiclass" one class index.
        transform: pipeline over image, mask and boxes; None leaves pixels at their size, scaled to [0, 1].
        random: whether the pipeline draws, so that it must be seeded for every sample.
        masks: whether samples carry the mask; without, masks are opened only where `mask` is called.
    """

    task: Task = "multilabel"
    masks: bool = True

    def __init__(
        self, classes: Sequence[str], ids: Sequence[str], transform: Pipeline | None = None, random: bool = False
    ) -> None:
        if not len(ids):
            raise ValueError(f"{type(self).__name__}: the data set is empty, no usable image was found")
        self.classes = tuple(classes)
        self.ids = list(ids)
        self.transform = transform
        self.random = random

    @property
    def void(self) -> int:
        """Mask id of pixels that no metric counts: 255, or 65535 beside more than 254 classes."""
        return void_id(len(self.classes))

    @abstractmethod
    def image(self, index: int) -> np.ndarray:
        """The original image, uint8 (H, W, 3), RGB."""

    @abstractmethod
    def labels(self, index: int) -> tuple[int, ...]:
        """Class indices present in the image, each once, ascending; none of an image that shows no class."""

    def mask(self, index: int) -> np.ndarray | None:
        """Ids at the original size, uint8 (H, W): 0 background, class index + 1, `void`; None if not annotated.

        Data sets of more than 254 classes give uint16.
        """
        return None

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes float32 (n, 4), x0 y0 x1 y1 in pixels of the original image, and their class indices int64 (n,)."""
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        image, (boxes, box_labels) = self.image(index), self.boxes(index)
        mask = self.mask(index) if self.masks else None
        if mask is not None and mask.shape != image.shape[:2]:
            raise ValueError(
                f"mask of image {self.ids[index]!r} is {mask.shape[0]} x {mask.shape[1]} but the image is "
                f"{image.shape[0]} x {image.shape[1]} (height x width): they must cover the same pixels"
            )
        size = content = image.shape[:2]
        if self.transform is None:
            pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255
        else:
            if self.random:
                reseed(self.transform)
            given = {} if mask is None else {"mask": mask}
            out = self.transform(image=image, bboxes=boxes, box_labels=box_labels, **given)
            pixels, mask = out["image"], out.get("mask")
            boxes, box_labels = out["bboxes"], out["box_labels"]
            content = content_size(self.transform, size, tuple(pixels.shape[1:]))
        sample = Sample(
            image=pixels,
            label=self._label(index),
            boxes=torch.as_tensor(np.asarray(boxes, np.float32)).reshape(-1, 4),
            # albumentations hands label fields back as floats
            box_labels=torch.as_tensor(np.asarray(box_labels).astype(np.int64)).reshape(-1),
            id=self.ids[index],
            size=torch.tensor(size),
            content_size=torch.tensor(content),
            index=torch.tensor(index),
        )
        if mask is not None:
            ids = torch.as_tensor(mask).long()
            ids[content[0] :], ids[:, content[1] :] = self.void, self.void
            sample["mask"] = ids
            if self.void != VOID:
                sample["void"] = torch.tensor(self.void)
        return sample

    def _label(self, index: int) -> torch.Tensor:
        labels = self.labels(index)
        if self.task == "multiclass":
            if len(labels) != 1:
                raise ValueError(
                    f"image {self.ids[index]!r} has {len(labels)} classes; a multiclass data set needs one, "
                    "task='multilabel' takes any number"
                )
            return torch.tensor(labels[0])
        multi_hot = torch.zeros(len(self.classes))
        multi_hot[list(labels)] = 1
        return multi_hot


class ImageSubset(LabelledImages):
    """Some images of a data set, with a pipeline of their own; `index` counts within the subset.

    Args:
        source: the whole data set.
        indices: positions in it.
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        masks: whether samples carry the mask.
    """

    def __init__(
        self,
        source: LabelledImages,
        indices: Sequence[int],
        transform: Pipeline | None = None,
        random: bool = False,
        masks: bool = True,
    ) -> None:
        super().__init__(source.classes, [source.ids[i] for i in indices], transform, random)
        self.task = source.task
        self.masks = masks
        self.source = source
        self.indices = list(indices)

    @property
    def report(self) -> LoadReport | None:
        """What the source left out on loading, if it tells."""
        return getattr(self.source, "report", None)

    def image(self, index: int) -> np.ndarray:
        """The source's image."""
        return self.source.image(self.indices[index])

    def mask(self, index: int) -> np.ndarray | None:
        """The source's mask."""
        return self.source.mask(self.indices[index])

    def labels(self, index: int) -> tuple[int, ...]:
        """The source's labels."""
        return self.source.labels(self.indices[index])

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The source's boxes."""
        return self.source.boxes(self.indices[index])
