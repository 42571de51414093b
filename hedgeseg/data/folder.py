"""Anyone's own pictures: class folders, or a folder of images with a CSV; masks if there are any."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hedgeseg.data.dataset import ImageSubset, Task
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.records import Record, RecordedImages
from hedgeseg.data.split import split_indices
from hedgeseg.data.transforms import eval_transform, train_transform

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_IMAGE_COLUMNS = ("image", "file", "filename", "path")


def class_folders(root: str | Path, masks: str | Path | None = None) -> tuple[tuple[str, ...], list[Record]]:
    """Reads `root/<class>/**/<image>`: one class per image, classes in alphabetical order.

    Args:
        root: folder of the class folders.
        masks: folder of PNG masks of the same relative paths; `masks` beside `root` without it. No masks if it does not
            exist.

    Raises:
        FileNotFoundError: `root` is missing.
        ValueError: `root` has no class folders.
    """
    root = _existing(root)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise ValueError(f"{root} has no class folders: expected {root}/<class>/<image>, or give a csv file")
    masks = root.parent / "masks" if masks is None else Path(masks)
    records = []
    for label, folder in enumerate(folders):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                relative = path.relative_to(root)
                mask = (masks / relative).with_suffix(".png") if masks.is_dir() else None
                name = relative.with_suffix("").as_posix().replace("/", "__")
                records.append(Record(name, path, (label,), mask))
    return tuple(folder.name for folder in folders), records


def csv_records(
    table: str | Path, images: str | Path, masks: str | Path | None = None
) -> tuple[tuple[str, ...], list[Record]]:
    """Reads a CSV with a header whose first column names the image.

    Either one further column holds the class names of the image, separated by spaces or semicolons, and classes are
    ordered alphabetically; or every further column is a class that holds 1 or 0 (multi-hot), in the order of the
    columns.

    Args:
        table: the CSV file.
        images: folder that the names are relative to.
        masks: folder of PNG masks of the same names, None for no masks.

    Raises:
        FileNotFoundError: the table or the image folder is missing.
        ValueError: no header, a row of another length, or a multi-hot value other than 0 and 1 (names the line).
    """
    table, images = Path(table), _existing(images)
    if not table.is_file():
        raise FileNotFoundError(
            f"{table} not found: expected a CSV with the columns image,classes or image,<class>,<class>..."
        )
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or len(rows[0]) < 2 or rows[0][0].strip().lower() not in _IMAGE_COLUMNS:
        raise ValueError(
            f"{table} needs a header that starts with one of {_IMAGE_COLUMNS}, got {rows[0] if rows else 'nothing'}"
        )
    header, body = [cell.strip() for cell in rows[0]], rows[1:]
    for line, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise ValueError(f"{table} line {line}: {len(row)} cells, the header has {len(header)}")
    if len(header) == 2 and any(row[1].strip() not in ("0", "1") for row in body):
        named = [row[1].replace(";", " ").split() for row in body]
        classes = tuple(sorted({name for names in named for name in names}))
        labels = [tuple(sorted({classes.index(name) for name in names})) for names in named]
    else:
        classes = tuple(header[1:])
        labels = [_hot(row[1:], table, line) for line, row in enumerate(body, start=2)]
    records = []
    for row, present in zip(body, labels, strict=True):
        relative = Path(row[0].strip())
        mask = None if masks is None else (Path(masks) / relative).with_suffix(".png")
        records.append(Record(relative.with_suffix("").as_posix().replace("/", "__"), images / relative, present, mask))
    return classes, records


class FolderDataModule(ImageDataModule):
    """Class folders (`root/<class>/<image>`), or `root/images` with a CSV beside it.

    Where class folders come in `root/train` and `root/val`, these are the split, with masks in `root/masks/train` and
    `root/masks/val`; else a seeded share is learnt from, and masks lie in `masks` beside `root` (class folders) or in
    it (CSV). With `train_fraction` 0 there is no training set and every image is validated.

    Args:
        root: folder of the data.
        csv: name of a CSV inside `root`; None reads class folders.
        task: "multiclass" for one class per image, "multilabel" for any number.
        train_fraction: share of the images to learn from, in [0, 1), where the folders do not say it.
        predict: images to make seeds for: "all", "train" or "val".
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: of the split.
        verify: decode every image once at the start, skip and count broken ones.
    """

    def __init__(
        self,
        root: str,
        csv: str | None = None,
        task: Task = "multiclass",
        train_fraction: float = 0.8,
        predict: Literal["all", "train", "val"] = "all",
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        verify: bool = True,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        if not 0 <= train_fraction < 1:
            raise ValueError(f"train_fraction must lie in [0, 1), got {train_fraction}")
        self.save_hyperparameters()
        self.root = Path(root)
        self.csv = csv
        self.task: Task = task
        self.train_fraction = train_fraction
        self.predict = predict
        self.verify = verify

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, from the folders or the table."""
        return self._read()[0]

    def setup(self, stage: str | None = None) -> None:
        """Lists the images, checks them and splits them."""
        if self.val_dataset is not None:
            return
        classes, records, train = self._read()
        still = eval_transform(self.image_size)
        whole = RecordedImages(str(self.root), classes, records, self.task, still, verify=self.verify)
        if train is None:
            learnt, rest = split_indices(len(whole), self.train_fraction, self.seed)
        else:
            learnt = [index for index, name in enumerate(whole.ids) if name in train]
            rest = [index for index, name in enumerate(whole.ids) if name not in train]
        if learnt:
            self.train_dataset = ImageSubset(whole, learnt, train_transform(self.image_size), random=True)
        self.val_dataset = ImageSubset(whole, rest, still)
        chosen = {"all": range(len(whole)), "train": learnt, "val": rest}[self.predict]
        self.predict_dataset = ImageSubset(whole, chosen, still)

    def _read(self) -> tuple[tuple[str, ...], list[Record], set[str] | None]:
        """Classes, records, and the ids to learn from where the folders say it."""
        if self.csv is not None:
            masks = self.root / "masks"
            found = csv_records(self.root / self.csv, self.root / "images", masks if masks.is_dir() else None)
            return *found, None
        if not (self.root / "train").is_dir() or not (self.root / "val").is_dir():
            return *class_folders(self.root), None
        (classes, train), (other, val) = (
            class_folders(self.root / part, self.root / "masks" / part) for part in ("train", "val")
        )
        if other != classes:
            raise ValueError(f"{self.root}: train and val differ in their classes: {sorted(set(classes) ^ set(other))}")
        train, val = _prefixed("train", train), _prefixed("val", val)
        return classes, train + val, {record.id for record in train}


def _prefixed(part: str, records: Sequence[Record]) -> list[Record]:
    return [Record(f"{part}__{record.id}", record.image, record.labels, record.mask) for record in records]


def _hot(cells: Sequence[str], table: Path, line: int) -> tuple[int, ...]:
    values = [cell.strip() for cell in cells]
    wrong = [value for value in values if value not in ("0", "1")]
    if wrong:
        raise ValueError(
            f"{table} line {line}: {wrong[0]!r} is neither 0 nor 1; several class columns must be multi-hot"
        )
    return tuple(index for index, value in enumerate(values) if value == "1")


def _existing(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"folder {folder} not found")
    return Path(folder)
