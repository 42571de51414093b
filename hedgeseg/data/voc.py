"""PASCAL VOC 2007 and 2012 in their own layout, with SBD's additional masks where they are present."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from torchvision.datasets.voc import DATASET_YEAR_DICT

from hedgeseg.data.annotated import AnnotatedImages
from hedgeseg.data.archives import Archive, Source, fetch
from hedgeseg.data.images import read_mask
from hedgeseg.data.orientation import Size
from hedgeseg.data.published import PublishedDataModule
from hedgeseg.data.records import Record
from hedgeseg.data.sbd import SBD, find_sbd, read_sbd_mask, train_aug
from hedgeseg.data.transforms import Pipeline
from hedgeseg.data.voc_classes import VOC_CLASSES

Subset = Literal["segmentation", "main"]
LabelSource = Literal["xml", "mask"]
Difficult = bool | Literal["boxes"]
_AUGMENTED = ("train_aug", "trainaug")


def voc_source(year: int) -> Source:
    """The archives of a year: checksums from torchvision, which downloads them."""
    keys = ["2007", "2007-test"] if year == 2007 else [str(year)]
    archives = tuple(Archive(DATASET_YEAR_DICT[key]["filename"], DATASET_YEAR_DICT[key]["md5"]) for key in keys)
    return Source(
        f"VOC {year}",
        archives,
        f"get {' and '.join(archive.name for archive in archives)} from http://host.robots.ox.ac.uk/pascal/VOC/ or a "
        f"mirror, and unpack it so that ROOT/VOCdevkit/VOC{year}/JPEGImages exists",
    )


class VocImages(AnnotatedImages):
    """The images of a list; masks are VOC's PNGs or SBD's MATLAB files, turned upright with their pictures."""

    def decode_mask(self, path: Path, index: int) -> np.ndarray:
        """Ids of either kind of file."""
        return _read_mask(path)


def find_voc(root: str | Path, year: int) -> Path:
    """The folder with `JPEGImages` and `Annotations`: `root` itself, `root/VOC<year>` or `root/VOCdevkit/VOC<year>`.

    Raises:
        FileNotFoundError: none of them is there.
    """
    root = Path(root)
    for folder in (root, root / f"VOC{year}", root / "VOCdevkit" / f"VOC{year}"):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise FileNotFoundError(f"no VOC {year} in {root}; ask for download, or {voc_source(year).advice(root)}")


def read_objects(path: Path) -> list[tuple[str, tuple[float, float, float, float], bool]]:
    """Objects of a VOC annotation: class name, box, and whether it is marked difficult.

    VOC counts pixels from 1 and includes the last one; the boxes here are x0, y0, x1, y1 from 0 with the end excluded.

    Raises:
        ValueError: the file is broken.
    """
    return _read_annotation(path)[0]


def _read_annotation(path: Path) -> tuple[list[tuple[str, tuple[float, float, float, float], bool]], Size | None]:
    """Objects, and the (height, width) they were drawn at, if that is written."""
    try:
        root = ElementTree.parse(path).getroot()
        found = []
        for item in root.iter("object"):
            box = item.find("bndbox")
            x0, y0, x1, y1 = (float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax"))  # type: ignore[union-attr, arg-type]
            difficult = item.findtext("difficult", "0").strip() == "1"
            found.append((item.findtext("name", "").strip(), (x0 - 1, y0 - 1, x1, y1), difficult))
        height, width = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a VOC annotation: {error}") from error
    return found, (height, width) if height > 0 and width > 0 else None


def voc_records(
    root: Path,
    split: str,
    subset: Subset = "segmentation",
    labels: LabelSource = "xml",
    difficult: Difficult = True,
    sbd: Path | None = None,
) -> list[Record]:
    """Lists the images of a split.

    Args:
        root: folder with `JPEGImages`, `Annotations`, `ImageSets`.
        split: name of a list: train, val, trainval, test, or train_aug: 10582 images with SBD's masks, see `sbd`.
        subset: "segmentation" takes the lists of images with masks, "main" those of classification and detection,
            without.
        labels: where image-level labels come from: the objects in the xml files, or the classes in the mask.
        difficult: whether objects marked difficult count: as labels and boxes, not at all, or as boxes alone, as the
            pointing game has it: a class whose objects are all difficult is not asked for, but may be pointed at.
        sbd: folder of SBD, for train_aug; without it, `SegmentationClassAug` and the list `train_aug.txt` below `root`
            are read, in which many publish the same as PNGs.

    Raises:
        FileNotFoundError: the list, an annotation or a mask is missing.
        ValueError: labels from masks where there are none, or an annotation of an unknown class.
    """
    if labels == "mask" and subset == "main":
        raise ValueError("labels='mask' needs masks, which only subset='segmentation' has")
    records = []
    for name, mask in _masks(root, split, subset, sbd).items():
        annotation = root / "Annotations" / f"{name}.xml"
        objects, size = _read_annotation(annotation) if annotation.is_file() else (None, None)
        if objects is None and labels == "xml":
            raise FileNotFoundError(f"{annotation} not found: labels='xml' needs it (labels='mask' does without)")
        kept = [(_index(kind, annotation), box) for kind, box, hard in objects or () if difficult or not hard]
        if mask is not None and not mask.is_file():
            raise FileNotFoundError(f"{mask} not found: split {split!r} of VOC lists it")
        present = {_index(kind, annotation) for kind, _, hard in objects or () if difficult is True or not hard}
        if labels == "mask" and mask is not None:
            present = {int(value) - 1 for value in np.unique(_read_mask(mask)) if 0 < value < 255}
        records.append(
            Record(
                id=name,
                image=root / "JPEGImages" / f"{name}.jpg",
                # objects that do not count are there all the same: such an image is no negative
                labels=tuple(sorted(present)) if present or not objects else None,
                mask=mask,
                boxes=tuple(box for _, box in kept),
                box_labels=tuple(label for label, _ in kept),
                size=size,
            )
        )
    return records


class VocDataModule(PublishedDataModule):
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
        difficult: whether objects marked difficult count; "boxes": as boxes but not as labels.
        download: fetch VOC, and SBD where a split is train_aug, through torchvision into `root`.
        options: of `PublishedDataModule`.
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
        difficult: Difficult = True,
        download: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, **options)
        self.save_hyperparameters()
        self.year = year
        self.splits = {"train": train_split, "val": val_split, "predict": predict_split}
        self.subset = subset
        self.labels = labels
        self.difficult = difficult
        self.download = download

    @property
    def classes(self) -> tuple[str, ...]:
        """VOC's twenty."""
        return VOC_CLASSES

    def prepare_data(self) -> None:
        """Downloads what is not there, if that was asked for."""
        if not self.download:
            return
        source, year = voc_source(self.year), str(self.year)
        for part in ["trainval", "test"] if self.year == 2007 else ["trainval"]:
            there = partial(_has_list, self.root, self.year, part)
            fetch(source, "VOCDetection", there, self.root, root=str(self.root), year=year, image_set=part)
        if set(self.splits.values()) & set(_AUGMENTED):
            sbd = self.root / "SBD"
            fetch(SBD, "SBDataset", self._has_augmented, sbd, root=str(sbd), image_set="train")

    def setup(self, stage: str | None = None) -> None:
        """Reads the lists and annotations."""
        if self.val_dataset is not None:
            return
        if self.splits["train"] is not None:
            self.train_dataset = self._images(self.splits["train"], self.train_transform, random=True)
        self.val_dataset = self._images(str(self.splits["val"]), self.eval_transform)
        self.predict_dataset = self._images(str(self.splits["predict"]), self.eval_transform)

    def _images(self, split: str, transform: Pipeline, random: bool = False) -> VocImages:
        folder = find_voc(self.root, self.year)
        records = voc_records(folder, split, self.subset, self.labels, self.difficult, self._sbd())
        voc_source(self.year).require((record.image for record in records), self.root)
        name = f"VOC {self.year} {split}"
        return VocImages(name, VOC_CLASSES, records, transform=transform, random=random, verify=self.verify)

    def _sbd(self) -> Path | None:
        """SBD's folder, unless its masks are there as PNGs."""
        as_pngs = find_voc(self.root, self.year) / "SegmentationClassAug"
        return None if as_pngs.is_dir() else find_sbd(self.root)

    def _has_augmented(self) -> bool:
        return self._sbd() is not None or (find_voc(self.root, self.year) / "SegmentationClassAug").is_dir()


def _has_list(root: Path, year: int, split: str) -> bool:
    try:
        return (find_voc(root, year) / "ImageSets" / "Main" / f"{split}.txt").is_file()
    except FileNotFoundError:
        return False


def _masks(root: Path, split: str, subset: Subset, sbd: Path | None) -> dict[str, Path | None]:
    """Image names of a split, each with its mask file if the split has masks."""
    if subset == "main":
        return dict.fromkeys(_read_list(root, split, subset))
    own = root / "SegmentationClass"
    if split not in _AUGMENTED:
        return {name: own / f"{name}.png" for name in _read_list(root, split, subset)}
    if sbd is None:
        return {name: root / "SegmentationClassAug" / f"{name}.png" for name in _read_list(root, split, subset)}
    found = train_aug(_read_list(root, "train", subset), _read_list(root, "val", subset), sbd)
    return {name: own / f"{name}.png" if mask is None else mask for name, mask in found.items()}


def _read_mask(path: Path) -> np.ndarray:
    return read_sbd_mask(path) if path.suffix == ".mat" else read_mask(path, len(VOC_CLASSES))


def _read_list(root: Path, split: str, subset: Subset) -> Sequence[str]:
    folder = root / "ImageSets" / ("Segmentation" if subset == "segmentation" else "Main")
    path = folder / f"{split}.txt"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.txt") if "_" not in file.stem or file.stem == "train_aug")
        hint = f" It is made of SBD: ask for download, or {SBD.manual}." if split in _AUGMENTED else ""
        raise FileNotFoundError(f"{path} not found; lists there: {known}.{hint}")
    # some train_aug lists name "/JPEGImages/x.jpg /SegmentationClassAug/x.png"
    return [Path(line.split()[0]).stem for line in path.read_text().splitlines() if line.strip()]


def _index(name: str, path: Path) -> int:
    if name not in VOC_CLASSES:
        raise ValueError(f"{path}: unknown class {name!r}")
    return VOC_CLASSES.index(name)
