"""COCO files that lie beside their pictures, one in the folder of every split, as Roboflow exports them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgeseg.data.coco_instances import Instances, read_instances
from hedgeseg.data.entries import split_of
from hedgeseg.data.listing import folders_in


def coco_parts(root: Path, annotation: str) -> dict[str, str]:
    """Folders of splits that hold a file of annotations, with the split of each; none where `root` has the file.

    Args:
        root: folder of the data; it may be missing.
        annotation: name of the file.
    """
    if not root.is_dir() or (root / annotation).is_file():
        return {}
    named = {folder.name: split_of(folder.name) for folder in folders_in(root)}
    return {name: split for name, split in named.items() if split is not None and (root / name / annotation).is_file()}


def images_beside(root: Path, annotation: str) -> str:
    """The folder of pictures: `images`, or where there is none the folder of the annotations."""
    return "images" if (root / "images").is_dir() else Path(annotation).parent.as_posix()


def joined_instances(files: Mapping[str, Path]) -> Instances:
    """The annotations of all parts as if they were one file, in which every picture is named with its part.

    Args:
        files: the file of each part, by the name of its folder.

    Raises:
        ValueError: the parts differ in their classes.
    """
    parts = {name: read_instances(path) for name, path in files.items()}
    first, *others = parts.values()
    for other in others:
        if other.classes != first.classes:
            differ = sorted(set(first.classes) ^ set(other.classes)) or "their order"
            raise ValueError(f"the categories of {', '.join(map(str, files.values()))} differ: {differ}")
    joined = Instances(first.classes, {}, {}, {}, [], joined=True)
    numbers: dict[tuple[str, int], int] = {}
    for name, part in parts.items():
        pictures = "images/" if (files[name].parent / "images").is_dir() else ""
        for category, index in part.class_of.items():
            number = numbers[name, category] = len(numbers)
            joined.class_of[number] = index

        def renamed(item: dict[str, Any], name: str = name) -> dict[str, Any]:
            return item | {"image_id": (name, item["image_id"]), "category_id": numbers[name, item["category_id"]]}

        for image, entry in part.images.items():
            written = entry["file_name"].replace("\\", "/")
            joined.images[name, image] = entry | {"id": (name, image), "file_name": f"{name}/{pictures}{written}"}
            joined.annotations[name, image] = [renamed(item) for item in part.annotations[image]]
        joined.stray.extend(item | {"image_id": (name, item["image_id"])} for item in part.stray)
    return joined
