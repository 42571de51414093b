"""Pseudo-masks in the place of true ones: what closes the loop from image labels to a segmentation network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import albumentations as A
import numpy as np

from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.fit import Fit
from hedgeseg.data.images import read_mask
from hedgeseg.data.module import ImageDataModule

MANIFEST = "manifest.json"
_NAMED = 5


class PseudoMasked(ImageSubset):
    """Images of a data set with the masks of a folder, `<id>.png`, instead of its own.

    Args:
        source: images and labels; its own masks are never looked at.
        folder: masks of ids (0 background, class index + 1, 255 ignore) at the images' original size.
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        missing: an image without a mask is an "error" or is left out ("skip").

    Raises:
        FileNotFoundError: no such folder, or images without a mask.
        ValueError: the folder was made for classes in another order (its manifest says so), or holds no mask of these
            images.
    """

    def __init__(
        self,
        source: LabelledImages,
        folder: str | Path,
        transform: A.Compose | None = None,
        random: bool = False,
        missing: Literal["error", "skip"] = "error",
    ) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder of masks {self.folder}; `train.py predict` writes one")
        _check_classes(self.folder, source.classes)
        without = [i for i, name in enumerate(source.ids) if not self._path(name).is_file()]
        if without and (missing == "error" or len(without) == len(source)):
            named = ", ".join(source.ids[i] for i in without[:_NAMED]) + (" ..." if len(without) > _NAMED else "")
            raise FileNotFoundError(
                f"{len(without)} of {len(source)} images have no mask in {self.folder}: {named}. Run `train.py "
                "predict` again for what is missing, predict the images that are learnt from, or give missing='skip'"
            )
        left = set(without)
        super().__init__(source, [i for i in range(len(source)) if i not in left], transform, random)

    def mask(self, index: int) -> np.ndarray:
        """The pseudo-mask."""
        return read_mask(self._path(self.ids[index]), len(self.classes))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


class PseudoMaskDataModule(ImageDataModule):
    """Learns from pseudo-masks of the images that `train.py predict` made seeds for; validates on true masks.

    The training set is the wrapped data module's *prediction* set (choose it there, as in `predict: train`), the
    validation set is its own. Without `masks` the same images are learnt from with their true masks: the fully
    supervised yardstick, by one option.

    Args:
        data: the data module with the images.
        masks: folder of pseudo-masks `<id>.png`; None takes the true masks.
        missing: an image without a pseudo-mask is an "error" or is left out ("skip").
        augment: random crops, mirroring and colours for the training images.
        image_size: side of the square input, or [height, width]; None takes that of `data`.
        batch_size: images of a batch; None takes that of `data`.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`; None takes that of
            `data`.
        crop: learn from random squares of so many pixels, see `train_transform`; None takes that of `data`.
    """

    def __init__(
        self,
        data: ImageDataModule,
        masks: str | None = None,
        missing: Literal["error", "skip"] = "error",
        augment: bool = True,
        image_size: int | list[int] | None = None,
        batch_size: int | None = None,
        fit: Fit | None = None,
        crop: int | None = None,
    ) -> None:
        if missing not in ("error", "skip"):
            raise ValueError(f"missing is 'error' or 'skip', got {missing!r}")
        super().__init__(
            data.image_size if image_size is None else image_size,
            data.batch_size if batch_size is None else batch_size,
            data.num_workers,
            data.seed,
            data.fit if fit is None else fit,
            data.crop if crop is None else crop,
        )
        self.save_hyperparameters(ignore=["data"])
        self.data = data
        self.masks = masks
        self.missing = missing
        self.augment = augment
        self.mean, self.std = data.mean, data.std

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the wrapped data module."""
        return self.data.classes

    def prepare_data(self) -> None:
        """What the wrapped data module does."""
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Puts the masks beside the images, checks that none is missing."""
        self.data.setup(stage or "fit")
        learnt, watched = self.data.predict_dataset, self.data.val_dataset
        if learnt is None or watched is None:
            raise ValueError(f"{type(self.data).__name__} has no prediction set or no validation set")
        _check_apart(learnt.ids, watched.ids)
        still = self.still
        moving = self.moving if self.augment else still
        if self.masks is None:
            self.train_dataset = ImageSubset(learnt, range(len(learnt)), moving, random=self.augment)
        else:
            self.train_dataset = PseudoMasked(learnt, self.masks, moving, random=self.augment, missing=self.missing)
        self.val_dataset = ImageSubset(watched, range(len(watched)), still)
        self.predict_dataset = self.val_dataset


def _check_apart(learnt: Sequence[str], watched: Sequence[str]) -> None:
    both = sorted(set(learnt) & set(watched))
    if both:
        raise ValueError(
            f"{len(both)} images are both learnt from and validated on, such as {both[0]!r}: choose the images to "
            "predict and learn from with `predict: train` (and a train_fraction) in the wrapped data module"
        )


def _check_classes(folder: Path, classes: Sequence[str]) -> None:
    """A mask holds numbers: refuse a folder whose manifest gives them other names."""
    path = folder / MANIFEST
    if not path.is_file():
        return  # masks of another tool say nothing of their classes
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["config"].get("class_names")
    except (json.JSONDecodeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a manifest of hedgeseg: {error!r}") from error
    if stored and tuple(stored) != tuple(classes):
        raise ValueError(
            f"{folder} holds masks of the classes {stored}, the data has {list(classes)}: the ids in the masks would "
            "mean other classes"
        )
