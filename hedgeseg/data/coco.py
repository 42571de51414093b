"""A folder in COCO format: `images/`, `instances.json` and, if there are any, `masks/` of semantic ids."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import albumentations as A
import numpy as np
from pycocotools import mask as rle

from hedgeseg.data.batch import VOID, void_id
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.images import read_image, read_mask, unreadable
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.report import LoadReport, by_name
from hedgeseg.data.split import split_indices
from hedgeseg.data.transforms import eval_transform, train_transform
from hedgeseg.data.voc_classes import VOC_CLASSES


@dataclass(frozen=True)
class Instances:
    """A COCO instances file: what hedgeseg reads of it.

    Attributes:
        classes: names; VOC's order where the categories are VOC's, else the order of the category ids.
        class_of: category id -> class index.
        images: image id -> its entry, in the file's order.
        annotations: image id -> its objects.
    """

    classes: tuple[str, ...]
    class_of: dict[int, int]
    images: dict[int, dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]


def read_instances(path: Path) -> Instances:
    """Reads a COCO instances file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no COCO instances file, or names categories that it does not define.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"annotation file {path} not found: expected COCO instances (images, annotations, categories)"
        )
    try:
        content = json.loads(path.read_text())
        categories = sorted(content["categories"], key=lambda category: category["id"])
        images = {image["id"]: image for image in content["images"]}
        objects = content["annotations"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a COCO instances file: {type(error).__name__} {error}") from error
    names = [category["name"] for category in categories]
    classes = VOC_CLASSES if set(names) == set(VOC_CLASSES) else tuple(names)
    annotations: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    class_of = {category["id"]: classes.index(category["name"]) for category in categories}
    for item in objects:
        if item["category_id"] not in class_of:
            raise ValueError(
                f"{path}: annotation {item.get('id')} has category_id {item['category_id']}, not in its categories"
            )
        annotations.setdefault(item["image_id"], []).append(item)
    return Instances(classes, class_of, images, annotations)


def rasterise(objects: Sequence[dict[str, Any]], class_of: dict[int, int], height: int, width: int) -> np.ndarray:
    """Paints COCO objects (polygons or run lengths) as semantic ids (H, W), uint8 or, beyond 254 classes, uint16.

    Larger objects come first, so that small ones stay seen. A crowd is painted as its class; an object without a
    segmentation leaves no pixels.
    """
    mask = np.zeros((height, width), np.uint8 if void_id(len(class_of)) == VOID else np.uint16)
    for item in sorted(objects, key=lambda item: -item.get("area", 0)):
        shape = item.get("segmentation")
        if not shape:
            continue
        if isinstance(shape, list):
            encoded = rle.merge(rle.frPyObjects(shape, height, width))
        else:
            encoded = rle.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
        mask[rle.decode(encoded) > 0] = class_of[item["category_id"]] + 1
    return mask


class CocoFolder(LabelledImages):
    """The images of a COCO folder that can be read and hold at least one object.

    Masks come from `masks/<image name>.png` if that folder is there, else they are painted from the segmentations; an
    image id without a mask file is an error. Boxes of crowds are left out (they enclose many objects), their label
    counts.

    Args:
        root: folder with `images`, `annotation` and maybe `masks`.
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        annotation: name of the instances file inside `root`.
        images: name of the image folder inside `root`.
        masks: name of the mask folder inside `root`.
        verify: decode every image once to skip and count the broken ones; without it a broken image stops the run, with
            its name, when it is met.

    Attributes:
        report: what was found and what was left out; a single warning tells it.

    Raises:
        FileNotFoundError: root, image folder or annotation file is missing.
        ValueError: nothing usable is left.
    """

    def __init__(
        self,
        root: str | Path,
        transform: A.Compose | None = None,
        random: bool = False,
        annotation: str = "instances.json",
        images: str = "images",
        masks: str = "masks",
        verify: bool = True,
    ) -> None:
        self.root = Path(root)
        for folder in (self.root, self.root / images):
            if not folder.is_dir():
                raise FileNotFoundError(f"folder {folder} not found: root must hold {images}/ and {annotation}")
        self.instances = read_instances(self.root / annotation)
        self._image_folder = self.root / images
        self._mask_folder = self.root / masks if (self.root / masks).is_dir() else None
        entries = list(self.instances.images.values())
        files = [self._image_folder / entry["file_name"] for entry in entries]
        broken = unreadable(files) if verify else {}
        self.report = LoadReport(
            found=len(entries),
            unreadable=by_name(broken),
        )
        self._entries = []
        for entry in entries:
            if self._image_folder / entry["file_name"] in broken:
                continue
            if self.instances.annotations[entry["id"]]:
                self._entries.append(entry)
            else:
                self.report.unlabelled.append(entry["file_name"])
        self.report.warn(f"CocoFolder({self.root})")
        if not self._entries:
            raise ValueError(f"CocoFolder({self.root}) is empty: {self.report}")
        super().__init__(self.instances.classes, _unique_names(self._entries), transform, random)

    def image(self, index: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        return read_image(self._image_folder / self._entries[index]["file_name"])

    def mask(self, index: int) -> np.ndarray:
        """Semantic ids, uint8 (H, W), from the mask file or the segmentations."""
        entry = self._entries[index]
        if self._mask_folder is not None:
            return read_mask((self._mask_folder / entry["file_name"]).with_suffix(".png"), len(self.classes))
        return rasterise(self._objects(index), self.instances.class_of, entry["height"], entry["width"])

    def labels(self, index: int) -> tuple[int, ...]:
        """Classes with an object in the image."""
        return tuple(sorted({self.instances.class_of[item["category_id"]] for item in self._objects(index)}))

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of the single objects that enclose a pixel or more."""
        single = [item for item in self._objects(index) if not item.get("iscrowd") and min(item["bbox"][2:]) > 0]
        boxes = np.array([item["bbox"] for item in single], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes, np.array([self.instances.class_of[item["category_id"]] for item in single], np.int64)

    def _objects(self, index: int) -> list[dict[str, Any]]:
        return self.instances.annotations[self._entries[index]["id"]]


class CocoFolderDataModule(ImageDataModule):
    """A COCO folder to look at as it is, or to learn from.

    With `train_fraction` 0 every image is validated and predicted and there is no training set. Otherwise a seeded
    share of the images is learnt from and the rest validated; `predict` says whose seeds are made.

    Args:
        root: folder with `images/`, `instances.json` and maybe `masks/`.
        train_fraction: share of the images to learn from, in [0, 1).
        predict: images to make seeds for: "all", "train" or "val".
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: of the split.
        annotation: name of the instances file inside `root`.
    """

    def __init__(
        self,
        root: str,
        train_fraction: float = 0.0,
        predict: Literal["all", "train", "val"] = "all",
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        annotation: str = "instances.json",
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        if not 0 <= train_fraction < 1:
            raise ValueError(f"train_fraction must lie in [0, 1), got {train_fraction}")
        if predict == "train" and not train_fraction:
            raise ValueError("predict='train' needs a training set: give train_fraction > 0")
        self.save_hyperparameters()
        self.root = root
        self.train_fraction = train_fraction
        self.predict = predict
        self.annotation = annotation
        self._classes: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, read from the annotation file."""
        if self._classes is None:
            self._classes = read_instances(Path(self.root) / self.annotation).classes
        return self._classes

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations and splits the images."""
        if self.val_dataset is not None:
            return
        whole = CocoFolder(self.root, eval_transform(self.image_size), annotation=self.annotation)
        self._classes = whole.classes
        train, val = split_indices(len(whole), self.train_fraction, self.seed)
        still = whole.transform
        if train:
            self.train_dataset = ImageSubset(whole, train, train_transform(self.image_size), random=True)
        self.val_dataset = ImageSubset(whole, val, still)
        if self.predict == "all":
            self.predict_dataset = whole
        else:
            self.predict_dataset = ImageSubset(whole, train if self.predict == "train" else val, still)


def _unique_names(entries: Sequence[dict[str, Any]]) -> list[str]:
    """The files' stems; with their folders where stems repeat."""
    stems = [Path(entry["file_name"]).stem for entry in entries]
    counts = Counter(stems)
    paths = [Path(entry["file_name"]).with_suffix("").as_posix().replace("/", "__") for entry in entries]
    return [stem if counts[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]
