"""Objects of a COCO file: what can be used of every annotation, and why the rest cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from pycocotools import mask as rle

from hedgeseg.coco_segmentation import Shape, UnusableSegmentationError, encode, paint_labels, read_segmentation
from hedgeseg.data.batch import VOID, void_id

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class CocoObject:
    """One annotation.

    Attributes:
        label: class index.
        box: x0, y0, x1, y1 in pixels; None if the annotation has none that encloses a pixel.
        shape: its pixels; None if it has no usable segmentation.
        crowd: whether it stands for many objects.
    """

    label: int
    box: Box | None
    shape: Shape | None
    crowd: bool = False


def read_object(item: dict[str, Any], label: int, size: tuple[int, int]) -> tuple[CocoObject, str | None]:
    """An annotation as an object, and what of it could not be used (None: all of it).

    An object without a usable segmentation keeps its label and box.

    Args:
        item: as it stands in the JSON.
        label: class index.
        size: (height, width) of the pixels it was drawn on.
    """
    box = _box(item.get("bbox"))
    crowd = bool(item.get("iscrowd"))
    try:
        shape = read_segmentation(item.get("segmentation"), size)
    except UnusableSegmentationError as error:
        known = "box and label are used" if box is not None else "its label alone is used, it has no box"
        return CocoObject(label, box, None, crowd), f"{error}; {known}"
    if box is None and item.get("bbox") is None:  # some tools write none beside a segmentation
        box = _around(shape, size)
    return CocoObject(label, box, shape, crowd), None


def paint(objects: Sequence[CocoObject], num_classes: int, size: tuple[int, int]) -> np.ndarray | None:
    """Paints objects as semantic ids (H, W), uint8 or, beyond 254 classes, uint16.

    Larger objects come first, so that small ones stay seen; a crowd is painted as its class. Where an object is known
    by its box alone, the box is void: what of it is object nobody said.

    Returns:
        The mask; None if no object has a shape, or one has neither shape nor box, so that nothing is known of where it
        is. No objects at all give background.
    """
    shapeless = [item for item in objects if item.shape is None]
    if len(shapeless) == len(objects) > 0 or any(item.box is None for item in shapeless):
        return None
    void = void_id(num_classes)
    mask = np.zeros(size, np.uint8 if void == VOID else np.uint16)
    for item in shapeless:
        assert item.box is not None
        x0, y0, x1, y1 = item.box
        mask[max(0, int(y0)) : max(0, int(np.ceil(y1))), max(0, int(x0)) : max(0, int(np.ceil(x1)))] = void
    paint_labels(mask, [(encode(item.shape, size), item.label + 1) for item in objects if item.shape is not None])
    return mask


def _box(given: Any) -> Box | None:
    if not isinstance(given, list | tuple) or len(given) != 4:
        return None
    if not all(isinstance(value, int | float) and isfinite(value) for value in given):
        return None
    x, y, width, height = map(float, given)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _around(shape: Shape, size: tuple[int, int]) -> Box | None:
    return _box([float(value) for value in rle.toBbox(encode(shape, size))])
