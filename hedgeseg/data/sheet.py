"""A contact sheet of a data set: images with their masks and boxes drawn in, as on disk or as a network gets them."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from PIL import Image, ImageDraw

from hedgeseg.data.batch import VOID
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.describe import mask_or_fault, spread
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD, Picture, colour_mask, contact_sheet, denormalise, voc_palette


def sample_sheet(
    dataset: LabelledImages,
    rows: int = 4,
    columns: int = 6,
    height: int = 160,
    transformed: bool = False,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Picture:
    """Evenly spaced images of a data set with their masks and boxes, their classes as captions, uint8 (H, W, 3).

    Args:
        dataset: any data set of the project.
        rows: rows of pictures, fewer if there are not enough images.
        columns: pictures of a row.
        height: of a picture in pixels.
        transformed: draw what comes out of the data set's pipeline, augmentation included, instead of the originals.
        mean: what the pipeline subtracts, to undo it.
        std: what the pipeline divides by.
    """
    chosen = spread(len(dataset), rows * columns)
    lines = [chosen[start : start + columns] for start in range(0, len(chosen), columns)]
    captions = [" | ".join(_names(dataset, index) for index in line) for line in lines]
    drawn = copy(dataset)
    drawn.masks = True  # also where samples go without
    cells: list[list[Picture]] = []
    for line in lines:
        cells.append([])
        for index in line:
            if transformed and dataset.transform is not None:
                sample = drawn[index]
                found = sample.get("mask")
                picture, mask = denormalise(sample["image"], mean, std), None if found is None else found.numpy()
                boxes, labels = sample["boxes"].numpy(), sample["box_labels"].numpy()
            else:
                picture, (mask, _), (boxes, labels) = (
                    dataset.image(index),
                    mask_or_fault(dataset, index),
                    dataset.boxes(index),
                )
            cells[-1].append(annotated(picture, mask, boxes, labels, dataset.void, height))
    return contact_sheet(cells, rows=captions)


def annotated(
    picture: Picture, mask: np.ndarray | None, boxes: np.ndarray, labels: np.ndarray, void: int, height: int
) -> Picture:
    """A picture of the given height with its mask laid over it and its boxes as frames, in VOC's colours.

    Args:
        picture: uint8 (H, W, 3).
        mask: ids (H, W) or None.
        boxes: (n, 4), x0 y0 x1 y1 in pixels of the picture, ends excluded.
        labels: class index of each box.
        void: id of void in the mask.
        height: of the result.
    """
    scale = height / picture.shape[0]
    size = (max(1, round(picture.shape[1] * scale)), height)
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    if mask is not None:
        ids = Image.fromarray(_drawable(mask, void)).resize(size, Image.Resampling.NEAREST)
        small = colour_mask(np.asarray(ids), small)
    drawn = Image.fromarray(small)
    pen = ImageDraw.Draw(drawn)
    for (x0, y0, x1, y1), label in zip((boxes * scale).tolist(), labels.tolist(), strict=True):
        colour = tuple(voc_palette()[_drawable(np.array([label + 1]), void)[0]].tolist())
        pen.rectangle(
            (round(x0), round(y0), max(round(x0), round(x1) - 1), max(round(y0), round(y1) - 1)), None, colour
        )
    return np.asarray(drawn)


def _drawable(ids: np.ndarray, void: int) -> np.ndarray:
    """Ids in the eight bits of VOC's palette; classes beyond 254 take the colours of the first again."""
    classes = np.where(ids > 0, (ids.astype(np.int64) - 1) % (VOID - 1) + 1, 0)
    return np.where(ids == void, VOID, classes).astype(np.uint8)


def _names(dataset: LabelledImages, index: int) -> str:
    return ", ".join(dataset.classes[label] for label in dataset.labels(index)) or "(none)"
