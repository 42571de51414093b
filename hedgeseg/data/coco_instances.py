"""A COCO instances file as it is written: images, categories and the annotations of each image."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedgeseg.data.voc_classes import VOC_CLASSES


@dataclass(frozen=True)
class Instances:
    """What hedgeseg reads of a COCO instances file.

    Attributes:
        classes: names; VOC's order where the categories are VOC's, else the order of the category ids.
        class_of: category id -> class index.
        images: image id -> its entry, in the file's order; each has a `file_name`.
        annotations: image id -> its annotations.
        stray: annotations of images that are not listed.
        joined: whether these are several files, whose pictures are named with the folder of each.
    """

    classes: tuple[str, ...]
    class_of: dict[int, int]
    images: dict[Any, dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]
    stray: list[dict[str, Any]]
    joined: bool = False


def read_instances(path: Path) -> Instances:
    """Reads a COCO instances file.

    A category that is only the parent of others (it is named as their `supercategory`, and nothing is annotated as it)
    gets no class: nothing could be learnt of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no COCO instances file, uses an id or name for two things, or names categories that it
            does not define.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"annotation file {path} not found: expected COCO instances (images, annotations, categories)"
        )
    try:
        content = json.loads(path.read_bytes())
        categories = sorted(content["categories"], key=lambda category: category["id"])
        entries = [(entry["id"], entry) for entry in content["images"] if Path(entry["file_name"])]
        objects = content["annotations"]
        used = {item["category_id"] for item in objects}
        belongs = [item["image_id"] for item in objects]
        categories = _without_parents(categories, used)
        names = [category["name"] for category in categories]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO instances file: {type(error).__name__} {error}") from error
    _check_once(path, "images have the id", [image_id for image_id, _ in entries])
    _check_once(path, "categories have the id", [category["id"] for category in categories])
    _check_once(path, "categories have the name", names)
    classes = VOC_CLASSES if set(names) == set(VOC_CLASSES) else tuple(names)
    index = {name: place for place, name in enumerate(classes)}
    class_of = {category["id"]: index[category["name"]] for category in categories}
    images = dict(entries)
    annotations: dict[Any, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    stray: list[dict[str, Any]] = []
    for item, image_id in zip(objects, belongs, strict=True):
        if item["category_id"] not in class_of:
            raise ValueError(
                f"{path}: annotation {item.get('id')} has category_id {item['category_id']}, not in its categories"
            )
        annotations.get(image_id, stray).append(item)
    return Instances(classes, class_of, images, annotations, stray)


def _without_parents(categories: Sequence[dict[str, Any]], used: set[Any]) -> list[dict[str, Any]]:
    parents = {
        category["supercategory"]
        for category in categories
        if category.get("supercategory") not in (None, category["name"])
    }
    return [category for category in categories if category["name"] not in parents or category["id"] in used]


def _check_once(path: Path, what: str, values: Sequence[Any]) -> None:
    value, count = Counter(values).most_common(1)[0] if values else (None, 0)
    if count > 1:
        raise ValueError(f"{path}: {count} {what} {value!r}: it must tell one from another")
