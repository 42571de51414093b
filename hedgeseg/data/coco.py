"""A folder in COCO format: `images/`, `instances.json` and, if there are any, `masks/` of semantic ids."""

import warnings
from collections import Counter
from collections.abc import Container, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hedgeseg.data.annotated import AnnotatedImages
from hedgeseg.data.coco_instances import Instances, read_instances
from hedgeseg.data.coco_objects import CocoObject, paint, read_object
from hedgeseg.data.coco_parts import coco_parts, images_beside, joined_instances
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.data.fit import Fit
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.negatives import seems_negative
from hedgeseg.data.orientation import Size, read_header
from hedgeseg.data.records import Record
from hedgeseg.data.split import split_indices, stratified_split
from hedgeseg.data.transforms import Pipeline


class CocoFolder(AnnotatedImages):
    """The images of a COCO folder that can be read; one without an object is a negative: it shows none of the classes.

    Masks come from `masks/<image name>.png` where there is one, else they are painted from the segmentations; an image
    whose objects are known by their boxes alone has none. Boxes of crowds are left out (they enclose many objects),
    their label counts. An annotation that cannot be used as it is costs no more than itself: `report` names it.
    Pictures are upright, and annotations of pictures that a camera marked to be turned are turned with them.

    Args:
        root: folder with `images`, `annotation` and maybe `masks`.
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        annotation: name of the instances file inside `root`.
        images: name of the image folder inside `root`.
        masks: name of the mask folder inside `root`.
        verify: decode every image once to skip and count the broken ones, and those of another size than annotated;
            without it such an image stops the run, with its name, when it is met.
        instances: the instances file, if it was read already.

    Attributes:
        report: what was found and what was left out; a single warning tells it.

    Raises:
        FileNotFoundError: root, image folder or annotation file is missing.
        ValueError: nothing usable is left, or two entries are of one file.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Pipeline | None = None,
        random: bool = False,
        annotation: str = "instances.json",
        images: str = "images",
        masks: str = "masks",
        verify: bool = True,
        instances: Instances | None = None,
    ) -> None:
        self.root = Path(root)
        for folder in (self.root, self.root / images):
            if not folder.is_dir():
                raise FileNotFoundError(f"folder {folder} not found: root must hold {images}/ and {annotation}")
        instances = read_instances(self.root / annotation) if instances is None else instances
        troubles: dict[str, str] = {}
        for item in instances.stray:
            troubles[_name(item, f"image {item['image_id']}", troubles)] = "its image is not listed"
        self._objects: dict[str, tuple[CocoObject, ...]] = {}
        records = []
        entries = list(instances.images.values())
        for name, entry in zip(_unique_names(entries, instances.joined), entries, strict=True):
            path = _located(self.root, images, entry["file_name"])
            size = _written_size(entry) or _stored_size(path)
            found = []
            for item in instances.annotations[entry["id"]]:
                one, trouble = read_object(item, instances.class_of[item["category_id"]], size or (1, 1))
                found.append(one)
                if trouble is not None:
                    troubles[_name(item, entry["file_name"], troubles)] = trouble
            self._objects[name] = tuple(found)
            folder = self.root / images
            inside = path.relative_to(folder) if path.is_relative_to(folder) else path.name
            records.append(_record(name, path, (self.root / masks / inside).with_suffix(".png"), found, size))
        self._shaped = any(item.shape is not None for found in self._objects.values() for item in found)
        super().__init__(
            f"CocoFolder({self.root})",
            instances.classes,
            records,
            transform=transform,
            random=random,
            verify=verify,
            troubles=troubles,
        )

    def drawn_mask(self, index: int) -> np.ndarray | None:
        """Semantic ids from the mask file or the segmentations; None if there are neither."""
        if self.records[index].mask is not None:
            return super().drawn_mask(index)
        if not self._shaped:  # a data set of boxes has no masks
            return super().drawn_mask(index)
        return paint(self._objects[self.ids[index]], len(self.classes), self.drawn_size(index))


class CocoFolderDataModule(ImageDataModule):
    """A COCO folder to look at as it is, or to learn from.

    With `train_fraction` 0 every image is validated and predicted and there is no training set. Otherwise a seeded
    share of the images is learnt from, drawn alike from every class, and the rest validated; `predict` says whose seeds
    are made. Folders of splits with a file of annotations in each (Roboflow's `train`, `valid`, `test`) are the split.

    Args:
        root: folder with `images/`, `instances.json` and maybe `masks/`, or with such folders for each split. Without
            `images` the pictures lie beside the annotations.
        train_fraction: share of the images to learn from, in [0, 1), where there are no folders of splits.
        predict: images to make seeds for: "all", "train", "val" or "test".
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: of the split.
        annotation: name of the instances file inside `root`.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`.
        crop: learn from random squares of so many pixels instead of resized crops, see `train_transform`.
        stratified: False draws the share from all images alike, whatever they show, as version 0.1 did.

    Raises:
        ValueError: an argument out of range; on loading, an image set that `predict` names and the data lack, or a
            class in every image, where a classifier is to learn it.
    """

    def __init__(
        self,
        root: str,
        train_fraction: float = 0.0,
        predict: Literal["all", "train", "val", "test"] = "all",
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        annotation: str = "instances.json",
        fit: Fit | None = None,
        crop: int | None = None,
        stratified: bool = True,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, fit, crop)
        if not 0 <= train_fraction < 1:
            raise ValueError(f"train_fraction must lie in [0, 1), got {train_fraction}")
        self._parts = coco_parts(Path(root), annotation)
        if predict == "train" and not train_fraction and not self._parts:
            raise ValueError("predict='train' needs a training set: give train_fraction > 0")
        self.save_hyperparameters()
        self.root = root
        self.train_fraction = train_fraction
        self.predict = predict
        self.annotation = annotation
        self.stratified = stratified
        self._classes: tuple[str, ...] | None = None
        self._instances: Instances | None = None  # until the images are read

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, read from the annotation file."""
        if self._classes is None:
            self._instances = self._read()
            self._classes = self._instances.classes
        return self._classes

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations and splits the images."""
        if self.val_dataset is not None:
            return
        still = self.eval_transform
        whole = CocoFolder(
            self.root,
            still,
            annotation=self.annotation,
            images="." if self._parts else images_beside(Path(self.root), self.annotation),
            instances=self._read() if self._instances is None else self._instances,
        )
        self._classes, self._instances = whole.classes, None
        if nothing := [name for name in whole.classes if seems_negative(name)]:
            warnings.warn(
                f"{self.root}: category {nothing[0]!r} is taken for a class to be found in a picture. If it means that "
                f"there is nothing to find, leave it and its annotations out of {self.annotation}: an image without "
                "annotations shows none of the classes",
                stacklevel=2,
            )
        sides = self._sides(whole)
        if sides["train"]:
            self.train_dataset = ImageSubset(whole, sides["train"], self.train_transform, random=True)
        self.val_dataset = ImageSubset(whole, sides["val"] or sides["test"], still)
        self.test_dataset = ImageSubset(whole, sides["test"], still) if sides["test"] else None
        if self.predict == "all":
            self.predict_dataset = whole
        elif sides[self.predict]:
            self.predict_dataset = ImageSubset(whole, sides[self.predict], still)
        else:
            raise ValueError(f"predict={self.predict!r}: {self.root} has no such images")
        if stage == "fit":
            self.check_lesson(str(self.root))

    def _read(self) -> Instances:
        if self._parts:
            return joined_instances({part: Path(self.root) / part / self.annotation for part in self._parts})
        return read_instances(Path(self.root) / self.annotation)

    def _sides(self, whole: CocoFolder) -> dict[str, list[int]]:
        """Positions to learn from, to validate on and to test on."""
        if self._parts:
            said = [self._parts[record.image.relative_to(self.root).parts[0]] for record in whole.records]
            sides = {side: [i for i, one in enumerate(said) if one == side] for side in ("train", "val", "test")}
            if not sides["val"] and not sides["test"]:
                raise ValueError(f"{self.root}: no folder of a split holds images to validate on, only to learn from")
            return sides
        train, val = split_indices(len(whole), self.train_fraction, self.seed)  # refuses to leave a side without images
        if self.stratified:
            labels = [whole.labels(i) for i in range(len(whole))]
            train, val = stratified_split(labels, self.train_fraction, self.seed)
        return {"train": train, "val": val, "test": []}


def _record(name: str, path: Path, mask: Path, found: Sequence[CocoObject], size: Size | None) -> Record:
    boxed = [(item.box, item.label) for item in found if item.box is not None and not item.crowd]
    return Record(
        id=name,
        image=path,
        labels=tuple(sorted({item.label for item in found})),
        mask=mask if mask.is_file() else None,
        boxes=tuple(box for box, _ in boxed),
        box_labels=tuple(label for _, label in boxed),
        size=size,
    )


def _located(root: Path, images: str, file_name: str) -> Path:
    """The image file; some tools write its path from `root`, or a path of Windows."""
    given = file_name.replace("\\", "/")
    inside = root / images / given
    return root / given if not inside.is_file() and (root / given).is_file() else inside


def _written_size(entry: dict[str, Any]) -> Size | None:
    """(height, width) of an entry, if it says so."""
    sides = [entry.get(side) for side in ("height", "width")]
    if not all(isinstance(side, int | float) and side >= 1 for side in sides):
        return None
    return int(sides[0]), int(sides[1])  # type: ignore[arg-type]


def _stored_size(path: Path) -> Size | None:
    try:
        return read_header(path).stored
    except (OSError, SyntaxError, ValueError):  # the image will be left out, or stop the run, with its name
        return None


def _name(item: dict[str, Any], image: str, taken: Container[str]) -> str:
    """What the report calls an annotation: by its id, and by its image where the id does not tell it from others."""
    number = item.get("id")
    names = ([] if number is None else [f"annotation {number}"]) + [f"annotation {number} of {image}"]
    counted = (f"annotation {number} of {image}, {again}." for again in count(2))
    return next(name for name in chain(names, counted) if name not in taken)


def _unique_names(entries: Sequence[dict[str, Any]], joined: bool) -> list[str]:
    """The files' stems; with their folders where stems repeat, or where the folders are splits."""
    paths = [Path(entry["file_name"].replace("\\", "/")).with_suffix("") for entry in entries]
    counts = Counter(path.name for path in paths)
    return [
        path.name if counts[path.name] == 1 and not joined else path.as_posix().replace("/", "__") for path in paths
    ]
