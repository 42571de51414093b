"""Pseudo-masks as a COCO instances file, run-length encoded: for `pycocotools`, Detectron and mmdetection.

One annotation per connected region of a class, with its score; category id is `class + 1`, as in the masks. COCO has no
ignore label: pixels of 255 are in no annotation.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from hedgeseg.seeds.components import seed_objects
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.seed import Seed


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
        for mask, label, score in zip(objects.masks, objects.labels.tolist(), objects.scores.tolist(), strict=True):
            encoded = rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
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


def read_coco(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Masks uint8 (H, W) by file name, from the run lengths or polygons of an instances file.

    Where annotations overlap, the smaller one is on top.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no COCO instances file.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        images = {entry["id"]: entry for entry in content["images"]}
        annotations = sorted(content["annotations"], key=lambda a: -a["area"])
        masks = {k: np.zeros((entry["height"], entry["width"]), np.uint8) for k, entry in images.items()}
        for annotation in annotations:
            mask = masks[annotation["image_id"]]
            mask[_decoded(annotation["segmentation"], *mask.shape)] = annotation["category_id"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{source} is not a COCO instances file: {type(error).__name__} {error}") from error
    return {str(images[k]["file_name"]): mask for k, mask in masks.items()}


def _decoded(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        encoded = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        encoded = rle.frPyObjects(segmentation, height, width)
    else:
        encoded = segmentation
    return np.asarray(rle.decode(encoded), dtype=bool)
