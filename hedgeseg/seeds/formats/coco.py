"""Pseudo-masks as a COCO instances file, run-length encoded: for `pycocotools`, Detectron and mmdetection.

One annotation per connected region of a class, with its score; category id is `class + 1`, as in the masks. COCO has no
ignore label: pixels of 255 are in no annotation.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from hedgeseg.coco_segmentation import UnusableSegmentationError, encode, paint_labels, read_segmentation
from hedgeseg.seeds.components import seed_objects
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.seed import LAST_CLASS, Seed


def coco_instances(seeds: Iterable[tuple[str, Seed]], classes: Sequence[str], smallest: int = 1) -> dict[str, Any]:
    """COCO dictionary of the seeds of many images.

    Args:
        seeds: (file name, seed) of each image.
        classes: names of all classes, in the order of their indices.
        smallest: regions of fewer pixels are left out.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, seed) in enumerate(seeds, start=1):
        height, width = seed.size
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        objects = seed_objects(seed, smallest)
        for encoded, label, score in zip(
            objects.run_lengths(), objects.labels.tolist(), objects.scores.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "segmentation": {"size": [height, width], "counts": encoded["counts"].decode("ascii")},
                    "area": float(rle.area(encoded)),
                    "bbox": [float(v) for v in rle.toBbox(encoded)],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    return {"info": {}, "licenses": [], "images": images, "categories": categories, "annotations": annotations}


def write_coco(
    path: str | os.PathLike[str], seeds: Iterable[tuple[str, Seed]], classes: Sequence[str], smallest: int = 1
) -> Path:
    """Write `coco_instances` as JSON; returns the path."""
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(coco_instances(seeds, classes, smallest)), encoding="utf-8")
    return target


def read_coco(path: str | os.PathLike[str], classes: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Masks uint8 (H, W) by file name, from the run lengths or polygons of an instances file.

    Where annotations overlap, the smaller one is on top. Those without a segmentation that can be painted are left out,
    and a warning names them.

    Args:
        path: the file.
        classes: names in the order of the class indices; without them the order of the category ids counts, whatever
            numbers these are (COCO's go to 90 for 80 classes).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no COCO instances file, has more classes than a mask of eight bits, or categories that
            are not among `classes`.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    unusable: list[str] = []
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        images = {entry["id"]: entry for entry in content["images"]}
        ids = _ids(content["categories"], classes)
        shapes: dict[Any, list[tuple[dict[str, Any], int]]] = {k: [] for k in images}
        masks = {k: np.zeros((entry["height"], entry["width"]), np.uint8) for k, entry in images.items()}
        for item in content["annotations"]:
            size = masks[item["image_id"]].shape
            try:
                lengths = encode(read_segmentation(item.get("segmentation"), size), size)
            except UnusableSegmentationError as error:
                unusable.append(f"annotation {item.get('id')}: {error}")
                continue
            shapes[item["image_id"]].append((lengths, ids[item["category_id"]]))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{source} is not a COCO instances file: {type(error).__name__} {error}") from error
    if unusable:
        warnings.warn(f"{source}: {len(unusable)} annotations are left out: {'; '.join(unusable[:5])}", stacklevel=2)
    for image_id, found in shapes.items():
        paint_labels(masks[image_id], found)
    return {str(images[k]["file_name"]): mask for k, mask in masks.items()}


def _ids(categories: Sequence[dict[str, Any]], classes: Sequence[str]) -> dict[Any, int]:
    """Category id -> label in the mask."""
    ordered = sorted(categories, key=lambda category: category["id"])
    names = [category["name"] for category in ordered]
    strange = sorted(set(names) - set(classes)) if classes else []
    if strange:
        raise ValueError(f"the categories {strange} are not among the classes {list(classes)}")
    if len(ordered) > LAST_CLASS + 1:
        raise ValueError(f"{len(ordered)} categories do not fit a mask of eight bits, which tells {LAST_CLASS + 1}")
    place = {name: i for i, name in enumerate(classes or names)}
    return {category["id"]: place[category["name"]] + 1 for category in ordered}
