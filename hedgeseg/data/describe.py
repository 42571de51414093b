"""What is in a data set, at a glance: counts per class, and a contact sheet."""

from dataclasses import dataclass

import numpy as np

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.visual import Picture, colour_mask, contact_sheet


@dataclass(frozen=True)
class Description:
    """Counts of a data set.

    Attributes:
        name: of the data set.
        images: number of images.
        labels_per_image: mean number of classes in an image.
        images_of: class -> images that hold it.
        boxes_of: class -> boxes of it.
        masks: whether the first image has a mask.
        left_out: what was skipped on loading, empty if nothing is known.
    """

    name: str
    images: int
    labels_per_image: float
    images_of: dict[str, int]
    boxes_of: dict[str, int]
    masks: bool
    left_out: str = ""

    def __str__(self) -> str:
        width = max(len(name) for name in (*self.images_of, "class"))
        lines = [
            f"{self.name}: {self.images} images, {len(self.images_of)} classes, {self.labels_per_image:.2f} per image, "
            f"{'with' if self.masks else 'without'} masks",
            f"{'class':<{width}}  {'images':>7}  {'boxes':>7}",
        ]
        lines += [f"{name:<{width}}  {count:>7}  {self.boxes_of[name]:>7}" for name, count in self.images_of.items()]
        return "\n".join(lines + [self.left_out] * bool(self.left_out))


def describe(dataset: LabelledImages, name: str = "") -> Description:
    """Counts images and boxes per class.

    Args:
        dataset: any data set of the project.
        name: what the description calls it; its class by default.
    """
    images, boxes = np.zeros(len(dataset.classes), int), np.zeros(len(dataset.classes), int)
    for index in range(len(dataset)):
        images[list(dataset.labels(index))] += 1
        np.add.at(boxes, dataset.boxes(index)[1], 1)
    report = getattr(dataset, "report", None)
    return Description(
        name=name or type(dataset).__name__,
        images=len(dataset),
        labels_per_image=float(images.sum() / len(dataset)),
        images_of=dict(zip(dataset.classes, images.tolist(), strict=True)),
        boxes_of=dict(zip(dataset.classes, boxes.tolist(), strict=True)),
        masks=dataset.mask(0) is not None,
        left_out="" if report is None else str(report),
    )


def sample_sheet(dataset: LabelledImages, rows: int = 4, columns: int = 6, height: int = 120) -> Picture:
    """Evenly spaced images of a data set with their masks laid over and their classes as captions, uint8 (H, W, 3).

    Args:
        dataset: any data set of the project.
        rows: rows of pictures, fewer if there are not enough images.
        columns: pictures of a row.
        height: of a picture in pixels.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(rows * columns, len(dataset))).round().astype(int)).tolist()
    lines = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    captions = [" | ".join(_names(dataset, index) for index in line) for line in lines]
    cells = [[_picture(dataset, index, height) for index in line] for line in lines]
    return contact_sheet(cells, rows=captions)


def _names(dataset: LabelledImages, index: int) -> str:
    return ", ".join(dataset.classes[label] for label in dataset.labels(index))


def _picture(dataset: LabelledImages, index: int, height: int) -> Picture:
    image, mask = dataset.image(index), dataset.mask(index)
    step = max(1, image.shape[0] // height)  # large photographs are thinned out before they are drawn
    image = np.ascontiguousarray(image[::step, ::step])
    return image if mask is None else colour_mask(mask[::step, ::step], image)
