"""ImageNet-S with 50, 300 or 919 classes: ImageNet images with masks, in the layout of its preparation scripts."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hedgeseg.data.batch import VOID
from hedgeseg.data.images import unknown_ids
from hedgeseg.data.listing import IMAGE_SUFFIXES
from hedgeseg.data.published import PublishedDataModule
from hedgeseg.data.records import Record, RecordedImages

_IGNORED = 1000
_MANUAL = "prepare it from your copy of ImageNet with the scripts of https://github.com/LUSSeg/ImageNet-S"


class ImageNetS(RecordedImages):
    """Images of a list of records whose masks are ImageNet-S's PNGs: id = red + 256 * green, 1000 ignored."""

    def decode_mask(self, path: Path, index: int) -> np.ndarray:
        """Ids from two colour channels; what was ignored becomes the project's void.

        Raises:
            ValueError: the file has no colours, or holds an id beyond the classes.
        """
        with Image.open(path) as file:
            if file.mode != "RGB":
                raise ValueError(f"{path} has mode {file.mode}; masks of ImageNet-S are RGB")
            colours = np.asarray(file).astype(np.int64)
        ids = colours[..., 0] + 256 * colours[..., 1]
        unknown = unknown_ids(ids, len(self.classes), _IGNORED)
        if unknown:
            raise ValueError(f"{path} holds the ids {unknown} but there are {len(self.classes)} classes")
        return np.where(ids == _IGNORED, self.void, ids).astype(np.uint8 if self.void == VOID else np.uint16)


def imagenet_s_records(root: Path, split: str) -> tuple[tuple[str, ...], list[Record]]:
    """Lists `root/<split>/<wnid>/*.JPEG` with `root/<split>-segmentation/<wnid>/*.png` where that folder is there.

    Returns:
        The wnids in alphabetical order, which is that of the mask ids, and the records.

    Raises:
        FileNotFoundError: the split is missing (says where to get it).
        ValueError: as many classes as the files' id for ignored pixels.
    """
    if not (root / split).is_dir():
        raise FileNotFoundError(f"folder {root / split} not found: {_MANUAL}")
    folders = sorted(path for path in (root / split).iterdir() if path.is_dir())
    if len(folders) >= _IGNORED:
        raise ValueError(f"{root} has {len(folders)} classes; ImageNet-S has 50, 300 or 919. Is this ImageNet itself?")
    masks = root / f"{split}-segmentation"
    records = [
        Record(path.stem, path, (label,), masks / folder.name / f"{path.stem}.png" if masks.is_dir() else None)
        for label, folder in enumerate(folders)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    return tuple(folder.name for folder in folders), records


class ImageNetSDataModule(PublishedDataModule):
    """ImageNet-S: learns from `train` (labels alone), validates and predicts on `validation`, with masks.

    The number of classes is that of the folders. Void is 255 with 50 classes and 65535 with 300 and 919, see
    `hedgeseg.data.batch`; the masks' own id for ignored pixels, 1000, is translated.

    Args:
        root: folder `ImageNetS50`, `ImageNetS300` or `ImageNetS919`, with `train`, `validation` and
            `validation-segmentation`.
        options: of `PublishedDataModule`.
    """

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(root, **options)
        self.save_hyperparameters()

    @property
    def classes(self) -> tuple[str, ...]:
        """The wnids."""
        return imagenet_s_records(self.root, "validation")[0]

    def setup(self, stage: str | None = None) -> None:
        """Lists the images; the training set may be missing where nothing is trained.

        Raises:
            ValueError: train and validation differ in their classes.
        """
        if self.val_dataset is not None:
            return
        classes, kept = imagenet_s_records(self.root, "validation")
        self.val_dataset = self._images("validation", classes, kept)
        self.predict_dataset = self.val_dataset
        if not (self.root / "train").is_dir():
            return
        others, learnt = imagenet_s_records(self.root, "train")
        if others != classes:
            raise ValueError(f"{self.root}: train and validation differ in {sorted(set(others) ^ set(classes))}")
        self.train_dataset = self._images("train", classes, learnt, moving=True)

    def _images(
        self, split: str, classes: tuple[str, ...], records: list[Record], moving: bool = False
    ) -> RecordedImages:
        transform = self.train_transform if moving else self.eval_transform
        return ImageNetS(f"ImageNet-S {split}", classes, records, "multiclass", transform, moving, self.verify)
