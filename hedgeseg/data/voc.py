"""PASCAL VOC 2007 and 2012 in their own layout, with SBD's additional masks where they are present."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import albumentations as A
import numpy as np

from hedgeseg.data.download import fetch
from hedgeseg.data.images import read_mask
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.records import Record, RecordedImages
from hedgeseg.data.transforms import eval_transform, train_transform
from hedgeseg.data.voc_classes import VOC_CLASSES

Subset = Literal["segmentation", "main"]
LabelSource = Literal["xml", "mask"]
_MANUAL = (
    "get VOCtrainval (and VOC2007's VOCtest) from http://host.robots.ox.ac.uk/pascal/VOC/ or a mirror, and unpack it "
    "so that ROOT/VOCdevkit/VOC{year}/JPEGImages exists"
)


def find_voc(root: str | Path, year: int) -> Path:
    """The folder with `JPEGImages` and `Annotations`: `root` itself, `root/VOC<year>` or `root/VOCdevkit/VOC<year>`.

    Raises:
        FileNotFoundError: none of them is there.
    """
    root = Path(root)
    for folder in (root, root / f"VOC{year}", root / "VOCdevkit" / f"VOC{year}"):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise FileNotFoundError(f"no VOC {year} in {root}: {_MANUAL.format(year=year)}, or ask for download")


def read_objects(path: Path) -> list[tuple[str, tuple[float, float, float, float], bool]]:
    """Objects of a VOC annotation: class name, box, and whether it is marked difficult.

    VOC counts pixels from 1 and includes the last one; the boxes here are x0, y0, x1, y1 from 0 with the end excluded.

    Raises:
        ValueError: the file is broken.
    """
    try:
        found = []
        for item in ElementTree.parse(path).getroot().iter("object"):
            box = item.find("bndbox")
            x0, y0, x1, y1 = (float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax"))  # type: ignore[union-attr, arg-type]
            difficult = item.findtext("difficult", "0").strip() == "1"
            found.append((item.findtext("name", "").strip(), (x0 - 1, y0 - 1, x1, y1), difficult))
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a VOC annotation: {error}") from error
    return found


def voc_records(
    root: Path, split: str, subset: Subset = "segmentation", labels: LabelSource = "xml", difficult: bool = True
) -> list[Record]:
    """Lists the images of a split.

    Args:
        root: folder with `JPEGImages`, `Annotations`, `ImageSets`.
        split: name of a list: train, val, trainval, test, or train_aug (SBD's 10582 images, masks in
            SegmentationClassAug).
        subset: "segmentation" takes the lists of images with masks, "main" those of classification and detection,
            without.
        labels: where image-level labels come from: the objects in the xml files, or the classes in the mask.
        difficult: whether objects marked difficult count, as labels and as boxes.

    Raises:
        FileNotFoundError: the list, an annotation or a mask is missing.
        ValueError: labels from masks where there are none, or an annotation of an unknown class.
    """
    if labels == "mask" and subset == "main":
        raise ValueError("labels='mask' needs masks, which only subset='segmentation' has")
    names = _read_list(root, split, subset)
    masks = root / ("SegmentationClassAug" if split in ("train_aug", "trainaug") else "SegmentationClass")
    records = []
    for name in names:
        annotation = root / "Annotations" / f"{name}.xml"
        objects = read_objects(annotation) if annotation.is_file() else None
        if objects is None and labels == "xml":
            raise FileNotFoundError(f"{annotation} not found: labels='xml' needs it (labels='mask' does without)")
        kept = [(_index(kind, annotation), box) for kind, box, hard in objects or () if difficult or not hard]
        mask = masks / f"{name}.png" if subset == "segmentation" else None
        if mask is not None and not mask.is_file():
            raise FileNotFoundError(f"{mask} not found: split {split!r} of VOC lists it")
        present = {label for label, _ in kept}
        if labels == "mask" and mask is not None:
            present = {int(value) - 1 for value in np.unique(read_mask(mask, len(VOC_CLASSES))) if 0 < value < 255}
        records.append(
            Record(
                id=name,
                image=root / "JPEGImages" / f"{name}.jpg",
                labels=tuple(sorted(present)),
                mask=mask,
                boxes=tuple(box for _, box in kept),
                box_labels=tuple(label for label, _ in kept),
            )
        )
    return records


class VocDataModule(ImageDataModule):
    """PASCAL VOC.

    VOC 2007's pointing game: `year: 2007, subset: main, val_split: test`. Weakly supervised segmentation: `year: 2012,
    train_split: train_aug, predict_split: train`.

    Args:
        root: folder that holds (or gets) `VOCdevkit/VOC<year>`.
        year: 2007 or 2012.
        train_split: list to learn from, None for no training set.
        val_split: list to validate and test on.
        predict_split: list to make seeds for.
        subset: "segmentation": lists of images with masks; "main": lists of classification and detection, without
            masks.
        labels: image-level labels from the "xml" objects or from the "mask".
        difficult: whether objects marked difficult count.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused by the lists, which are fixed; kept with the run.
        download: fetch what torchvision can fetch (not SBD) into `root`.
        verify: decode every image once at the start, skip and count broken ones.
    """

    def __init__(
        self,
        root: str,
        year: Literal[2007, 2012] = 2012,
        train_split: str | None = "train",
        val_split: str = "val",
        predict_split: str = "train",
        subset: Subset = "segmentation",
        labels: LabelSource = "xml",
        difficult: bool = True,
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        download: bool = False,
        verify: bool = False,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        self.save_hyperparameters()
        self.root = root
        self.year = year
        self.splits = {"train": train_split, "val": val_split, "predict": predict_split}
        self.subset = subset
        self.labels = labels
        self.difficult = difficult
        self.download = download
        self.verify = verify

    @property
    def classes(self) -> tuple[str, ...]:
        """VOC's twenty."""
        return VOC_CLASSES

    def prepare_data(self) -> None:
        """Downloads the archives if that was asked for."""
        if not self.download:
            return
        parts = ["trainval"] + (["test"] if self.year == 2007 else [])
        for part in parts:
            fetch(
                f"VOC {self.year} {part}",
                "VOCDetection",
                _MANUAL.format(year=self.year),
                root=self.root,
                year=str(self.year),
                image_set=part,
            )

    def setup(self, stage: str | None = None) -> None:
        """Reads the lists and annotations."""
        if self.val_dataset is not None:
            return
        still, moving = eval_transform(self.image_size), train_transform(self.image_size)
        if self.splits["train"] is not None:
            self.train_dataset = self._images(self.splits["train"], moving, random=True)
        self.val_dataset = self._images(str(self.splits["val"]), still)
        self.predict_dataset = self._images(str(self.splits["predict"]), still)

    def _images(self, split: str, transform: A.Compose, random: bool = False) -> RecordedImages:
        folder = find_voc(self.root, self.year)
        records = voc_records(folder, split, self.subset, self.labels, self.difficult)
        name = f"VOC {self.year} {split}"
        return RecordedImages(name, VOC_CLASSES, records, transform=transform, random=random, verify=self.verify)


def _read_list(root: Path, split: str, subset: Subset) -> Sequence[str]:
    folder = root / "ImageSets" / ("Segmentation" if subset == "segmentation" else "Main")
    path = folder / f"{split}.txt"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.txt") if "_" not in file.stem or file.stem == "train_aug")
        hint = " SBD's train_aug list and SegmentationClassAug masks come with SBD." if "aug" in split else ""
        raise FileNotFoundError(f"{path} not found; lists there: {known}.{hint}")
    # some train_aug lists name "/JPEGImages/x.jpg /SegmentationClassAug/x.png"
    return [Path(line.split()[0]).stem for line in path.read_text().splitlines() if line.strip()]


def _index(name: str, path: Path) -> int:
    if name not in VOC_CLASSES:
        raise ValueError(f"{path}: unknown class {name!r}")
    return VOC_CLASSES.index(name)
