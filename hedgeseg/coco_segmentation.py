"""The forms that COCO's `segmentation` comes in, checked before pycocotools sees them.

pycocotools trusts what it is given: a run length that does not add up writes outside its memory, and a coordinate that
is not a number asks for all of it. What passes here is safe to decode at any later time.

| form                                         | taken as                                                             |
|----------------------------------------------|----------------------------------------------------------------------|
| `[[x, y, x, y, x, y, ...], ...]`             | polygons; each ring has three points or more                         |
| `{"size": [h, w], "counts": [n, n, ...]}`    | run lengths, also a list of such mappings, which are joined          |
| `{"size": [h, w], "counts": "..."}`          | the same, compressed                                                 |
| anything else                                | refused with the reason                                              |
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle

Rings = tuple[np.ndarray, ...]
RunLengths = dict[str, Any]
Shape = Rings | RunLengths
"""Polygons, float64 arrays of x, y, x, y, ..., or compressed run lengths; both fit their picture."""

_CONTINUES, _DIGIT, _SIGN, _FIRST, _BITS = 0x20, 0x1F, 0x10, 48, 5


class UnusableSegmentationError(ValueError):
    """A segmentation in a form that cannot be painted; the message says which."""


def read_segmentation(segmentation: Any, size: tuple[int, int]) -> Shape:
    """Checks a segmentation and makes it compact.

    Args:
        segmentation: as it stands in the JSON.
        size: (height, width) of the pixels it was drawn on.

    Raises:
        UnusableSegmentationError: it is none of the forms above, or does not fit the size.
    """
    if segmentation is None or segmentation == [] or segmentation == {}:
        raise UnusableSegmentationError("no segmentation")
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, size)
    if not isinstance(segmentation, list):
        raise UnusableSegmentationError(f"the segmentation is of type {type(segmentation).__name__}")
    if all(isinstance(part, dict) for part in segmentation):
        if any(isinstance(part.get("counts"), str) for part in segmentation):
            raise UnusableSegmentationError("the segmentation is a list of compressed run lengths")
        return _joined([_run_lengths(part, size) for part in segmentation])
    if not all(isinstance(part, list) for part in segmentation):
        count = len(segmentation)
        raise UnusableSegmentationError(f"the segmentation is a flat list of {count} numbers, not a list of polygons")
    return tuple(_ring(part, size) for part in segmentation)


def encode(shape: Shape, size: tuple[int, int]) -> RunLengths:
    """Compressed run lengths of a checked shape."""
    if isinstance(shape, dict):
        return shape
    height, width = size
    return dict(rle.merge(rle.frPyObjects([ring.tolist() for ring in shape], height, width)))


def paint_labels(mask: np.ndarray, shapes: Iterable[tuple[RunLengths, int]]) -> None:
    """Paint labels into a mask (H, W): the larger shapes first, so that small ones stay seen."""
    for lengths, label in sorted(shapes, key=lambda pair: -int(rle.area(pair[0]))):
        mask[rle.decode(lengths) > 0] = label


def _ring(values: list[Any], size: tuple[int, int]) -> np.ndarray:
    if len(values) < 6 or len(values) % 2:
        raise UnusableSegmentationError(f"a polygon of {len(values)} numbers; it takes x and y of three points or more")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise UnusableSegmentationError("a polygon holds something that is not a number")
    ring = np.asarray(values, np.float64)
    reach = 10 * max(size)
    if not np.isfinite(ring).all() or np.abs(ring).max() > reach:
        raise UnusableSegmentationError("a polygon reaches far outside the image")
    return ring


def _run_lengths(given: dict[str, Any], size: tuple[int, int]) -> RunLengths:
    written, counts = given.get("size"), given.get("counts")
    if not isinstance(written, list) or written != list(size):
        raise UnusableSegmentationError(f"run lengths of size {written}, the image is {list(size)} (height, width)")
    if isinstance(counts, str | bytes):
        text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
        _check_total(uncompressed(text), size)
        return {"size": list(size), "counts": text}
    if not isinstance(counts, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in counts):
        raise UnusableSegmentationError("run lengths need whole numbers, or text, as counts")
    _check_total(counts, size)
    return dict(rle.frPyObjects({"size": list(size), "counts": counts}, *size))


def _joined(parts: list[RunLengths]) -> RunLengths:
    return parts[0] if len(parts) == 1 else dict(rle.merge(parts))


def _check_total(counts: Sequence[int], size: tuple[int, int]) -> None:
    total = size[0] * size[1]
    if not counts or min(counts) < 0 or sum(counts) != total:
        raise UnusableSegmentationError(f"run lengths do not add up to the {total} pixels of the image")


def uncompressed(text: bytes) -> list[int]:
    """Run lengths of COCO's compressed text: digits of five bits, from the third on differences to the last but one.

    Raises:
        UnusableSegmentationError: the text ends inside a number or holds other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for code in text:
        digit = code - _FIRST
        if not 0 <= digit < 2 * _CONTINUES or shift > 60:
            raise UnusableSegmentationError("the text of the run lengths is damaged")
        value |= (digit & _DIGIT) << shift
        shift += _BITS
        if digit & _CONTINUES:
            continue
        if digit & _SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise UnusableSegmentationError("the text of the run lengths is cut short")
    return counts
