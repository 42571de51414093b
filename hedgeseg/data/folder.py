"""Anyone's own pictures: class folders, or a folder of images with a CSV; masks if there are any."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hedgeseg.data.class_folders import read_class_folders
from hedgeseg.data.dataset import ImageSubset, Task
from hedgeseg.data.entries import Entry, Listing
from hedgeseg.data.fit import Fit
from hedgeseg.data.folder_images import FolderImages
from hedgeseg.data.mask_files import MaskFiles, MaskPart
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.negatives import without_background
from hedgeseg.data.records import Record
from hedgeseg.data.split import stratified_split
from hedgeseg.data.split_list import read_split_list, write_split_list
from hedgeseg.data.table_images import read_labelled_table
from hedgeseg.data.teachable import check_teachable
from hedgeseg.data.transforms import MIN_SCALE


@dataclass(frozen=True)
class _Found:
    """A listing, and what its names mean."""

    listing: Listing
    classes: tuple[str, ...]
    labels: list[tuple[int, ...]]
    task: Task


class FolderDataModule(ImageDataModule):
    """Class folders (`root/<class>/<image>`), or images with a CSV beside them; images of no class; masks, if any.

    ```python
    FolderDataModule("tiles", background="free", mask_values={255: "crack"})
    FolderDataModule("scans", csv="labels.csv")  # with columns `split` and `patient`, if there are
    ```

    Images that show none of the classes are learnt from and validated on like all others (multi-label, no class set).
    Class folders in `root/train`, `root/val`, `root/test` (or their usual other names) are the split, and so is a
    column `split`; without a validation folder the test folder is validated on. Else a seeded share is learnt from,
    drawn alike from every class and never through a group. The list of the split is written beside the run.

    Masks lie in `masks` in `root` or beside it, named as their images, or beside their images as `<image>_mask.png`;
    `hedgeseg.data.mask_files` and `hedgeseg.data.mask_values` say in which ways. Samples to learn from or to predict
    carry no mask: masks are opened where something is scored.

    Args:
        root: folder of the data.
        csv: name of a CSV inside `root`; None reads class folders.
        task: "multiclass" for one class per image, "multilabel" for any number; None tells it from the data: one logit
            per class as soon as an image shows none or several.
        train_fraction: share of the images to learn from, in [0, 1), where the data do not say it.
        predict: images to make seeds for: "all", "train", "val" or "test".
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: of the split.
        verify: decode every image once at the start, skip and count broken ones.
        background: the class folder or name (or several) that means "nothing to find", such as "good"; [] or
            "none-of-them" where every name is a class. Names that look like nothing are asked about.
        masks: folder of masks, relative to `root` or absolute; None looks for it.
        mask_values: what the values of masks mean, such as {255: "crack"}; see `hedgeseg.data.mask_values`.
        split: "given" takes the split that the data say, "random" draws one though they do, and the `split.csv` of a
            run repeats that run's.
        separator: between several class names in one cell of the CSV; None tells it.
        label_columns: columns of the CSV that hold labels; None tells them.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`.
        crop: learn from random squares of so many pixels instead of resized crops, see `train_transform`.
        min_scale: smallest share of a picture that a random crop keeps; small crops may cut off what a label is about.

    Raises:
        ValueError: an argument out of range; on loading, data that leave a doubt (the message says what to give) or
            from which nothing can be learnt.
    """

    def __init__(
        self,
        root: str,
        csv: str | None = None,
        task: Task | None = None,
        train_fraction: float = 0.8,
        predict: Literal["all", "train", "val", "test"] = "all",
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        verify: bool = True,
        background: str | list[str] | None = None,
        masks: str | None = None,
        mask_values: dict[int | str, str] | None = None,
        split: str = "given",
        separator: str | None = None,
        label_columns: list[str] | None = None,
        fit: Fit | None = None,
        crop: int | None = None,
        min_scale: float = MIN_SCALE,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, fit, crop, min_scale=min_scale)
        if not 0 <= train_fraction < 1:
            raise ValueError(f"train_fraction must lie in [0, 1), got {train_fraction}")
        self.save_hyperparameters()
        self.root = Path(root)
        self.csv = csv
        self.train_fraction = train_fraction
        self.predict = predict
        self.verify = verify
        self.background = background
        self.masks = masks
        self.mask_values = mask_values
        self.split = split
        self.separator = separator
        self.label_columns = label_columns
        self._task = task
        self._known: _Found | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, from the folders or the table, without background."""
        return self._found.classes

    @property
    def task(self) -> Task:
        """One class per image or any number, as given or as the data say."""
        return self._found.task

    @property
    def notes(self) -> tuple[str, ...]:
        """How the folder was understood, and what of it is not used."""
        return tuple(self._found.listing.notes)

    def setup(self, stage: str | None = None) -> None:
        """Lists the images, checks them and splits them.

        Raises:
            ValueError: nothing can be learnt from the training images, where `stage` is "fit" or None.
        """
        if self.val_dataset is not None:
            return
        found = self._found
        for note in found.listing.notes:
            warnings.warn(f"{found.listing.source}: {note}", stacklevel=2)
        still = self.eval_transform
        entries = {entry.id: entry for entry in found.listing.entries}
        records = [
            Record(entry.id, entry.image, labels)
            for entry, labels in zip(found.listing.entries, found.labels, strict=True)
        ]
        whole = FolderImages(
            str(self.root),
            found.classes,
            records,
            self._mask_parts(found),
            self.mask_values,
            found.task,
            still,
            self.verify,
            dict.fromkeys(found.listing.missing, "no such file"),
        )
        sides = self._sides(whole, [entries[name] for name in whole.ids])
        learnt, rest, tested = sides["train"], sides["val"], sides["test"]
        if learnt and stage in (None, "fit"):
            others = [whole.labels(i) for i in (*rest, *tested)]
            check_teachable(found.classes, [whole.labels(i) for i in learnt], others, str(self.root))
        if learnt:
            self.train_dataset = ImageSubset(whole, learnt, self.train_transform, random=True, masks=False)
        self.val_dataset = ImageSubset(whole, rest or tested, still)
        self.test_dataset = ImageSubset(whole, tested or rest, still)
        chosen = {"all": list(range(len(whole))), **sides}[self.predict]
        if not chosen:
            raise ValueError(f"predict={self.predict!r}: {self.root} has no such images; it has {_counts(sides)}")
        self.predict_dataset = ImageSubset(whole, chosen, still, masks=False)
        if stage == "fit":
            self._write_split(whole, sides, entries)

    @property
    def _found(self) -> _Found:
        if self._known is None:
            if self.csv is None:
                listing = read_class_folders(self.root)
            else:
                listing = read_labelled_table(self.root, self.csv, self.separator, self.label_columns)
            classes, nothing = without_background(listing.names, self.background, listing.source)
            position = {name: i for i, name in enumerate(classes)}
            labels = [
                tuple(sorted(position[name] for name in entry.names if name not in nothing))
                for entry in listing.entries
            ]
            self._known = _Found(listing, classes, labels, _task(self._task, listing, labels))
        return self._known

    def _mask_parts(self, found: _Found) -> dict[str, tuple[MaskPart, ...]]:
        folder = found.listing.masks if self.masks is None else self.root / self.masks
        if self.masks is not None and (folder is None or not folder.is_dir()):
            raise FileNotFoundError(f"masks: there is no folder {folder}")
        files = MaskFiles(folder, found.listing.beside, found.classes)
        if not files.paths:
            return {}
        given = any(found.listing.splits())
        parts = {entry.id: files.of(entry.relative, given) for entry in found.listing.entries}
        used = {path for some in parts.values() for path, _ in some}
        if unused := [path for path in files.paths if path not in used]:
            warnings.warn(
                f"{found.listing.source}: {len(unused)} of {len(files.paths)} masks match no image, such as "
                f"{unused[0]}; a mask is called as its image",
                stacklevel=3,
            )
        return {name: some for name, some in parts.items() if some}

    def _sides(self, whole: FolderImages, entries: Sequence[Entry]) -> dict[str, list[int]]:
        """Positions to learn from, to validate on and to test on."""
        said: Sequence[str | None] = [entry.split for entry in entries]
        if self.split not in ("given", "random"):
            listed = read_split_list(self.split)
            unknown = [entry.id for entry in entries if entry.id not in listed]
            if unknown:
                raise ValueError(
                    f"{self.split} does not list {len(unknown)} images of {self.root}, such as {unknown[0]!r}"
                )
            said = [listed[entry.id] for entry in entries]
        given = set(said) - {None}
        if self.split == "random" or len(given) < 2:
            labels = [whole.labels(i) for i in range(len(whole))]
            train, val = stratified_split(labels, self.train_fraction, self.seed, [entry.group for entry in entries])
            return {"train": train, "val": val, "test": []}
        return {side: [i for i, one in enumerate(said) if one == side] for side in ("train", "val", "test")}

    def _write_split(self, whole: FolderImages, sides: dict[str, list[int]], entries: dict[str, Entry]) -> None:
        """Writes the list into the run's folder, if the run has one."""
        if self.trainer is None:
            return
        folder = self.trainer.log_dir  # every process must ask
        if folder is None or not self.trainer.is_global_zero:
            return
        if not self.trainer.loggers and Path(folder).resolve() == Path.cwd():
            return  # such a run keeps nothing
        write_split_list(
            Path(folder),
            (
                (whole.ids[i], side, [whole.classes[label] for label in whole.labels(i)], entries[whole.ids[i]].group)
                for side, indices in sides.items()
                for i in indices
            ),
        )


def _task(given: Task | None, listing: Listing, labels: Sequence[tuple[int, ...]]) -> Task:
    """One class per image where the data say so.

    Raises:
        ValueError: "multiclass" was asked for, and the data say otherwise.
    """
    other = next((i for i, present in enumerate(labels) if len(present) != 1), None)
    if given == "multiclass" and other is not None:
        raise ValueError(
            f"{listing.source}: image {listing.entries[other].id!r} shows {len(labels[other])} classes; "
            "task='multiclass' needs one in every image, task='multilabel' takes any number"
        )
    if given is not None:
        return given
    return "multiclass" if listing.single and other is None else "multilabel"


def _counts(sides: dict[str, list[int]]) -> str:
    return ", ".join(f"{len(indices)} {side}" for side, indices in sides.items() if indices)
