"""Pseudo-masks in the place of true ones: what closes the loop from image labels to a segmentation network."""

import json
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch

from hedgeseg.data.batch import Sample
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.feature_loaders import learning_loader
from hedgeseg.data.fit import Fit
from hedgeseg.data.images import read_mask
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.transforms import Pipeline

MANIFEST = "manifest.json"
_NAMED = 5


def check_ignore_below(value: float) -> None:
    """Refuses what is no confidence.

    Raises:
        ValueError: a value outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise ValueError(f"ignore_below is a confidence in [0, 1], got {value}")


class PseudoMasked(ImageSubset):
    """Images of a data set with the masks of a folder, `<id>.png`, instead of its own.

    Args:
        source: images and labels; its own masks are never looked at.
        folder: masks of ids (0 background, class index + 1, 255 ignore) at the images' original size.
        transform: pipeline over image, mask and boxes.
        random: whether the pipeline draws.
        missing: an image without a mask is an "error" or is left out ("skip").
        ignore_below: pixels whose `confidence`, in `<id>.npz` beside the mask, is lower are not learnt from.

    Raises:
        FileNotFoundError: no such folder, or images without a mask.
        ValueError: the folder was made for classes in another order (its manifest says so), or holds no mask of these
            images.
    """

    def __init__(
        self,
        source: LabelledImages,
        folder: str | Path,
        transform: Pipeline | None = None,
        random: bool = False,
        missing: Literal["error", "skip"] = "error",
        ignore_below: float = 0.0,
    ) -> None:
        check_ignore_below(ignore_below)
        self.folder = Path(folder)
        self.ignore_below = ignore_below
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
        """The pseudo-mask; void where it is not sure enough.

        Raises:
            ValueError: `ignore_below` is asked of a folder without confidences.
        """
        path = self._path(self.ids[index])
        mask = read_mask(path, len(self.classes))
        if not self.ignore_below:
            return mask
        return np.where(_confidence(path.with_suffix(".npz"), mask.shape) < self.ignore_below, self.void, mask).astype(
            mask.dtype
        )

    def shown(self, transform: Pipeline, random: bool = False) -> Self:
        """The same images and masks behind another pipeline."""
        other = copy(self)
        other.transform, other.random = transform, random
        return other

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        sample["pseudo"] = torch.tensor(True)
        return sample

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


class PseudoMaskDataModule(ImageDataModule):
    """Learns from pseudo-masks of the images that `train.py predict` made seeds for.

    The training set is the wrapped data module's *prediction* set (choose it there, as in `predict: train`); where that
    holds the validation images as well (`predict: all`) they are left out. The validation set is the wrapped module's
    own, with its true masks. Where it has none, the pseudo-masks stand in for them and the metric is called
    `val/pseudo_miou`; where there are none of these either, nothing is validated. Without `masks` the same images are
    learnt from with their true masks: the fully supervised yardstick, by one option.

    Args:
        data: the data module with the images.
        masks: folder of pseudo-masks `<id>.png`; None takes the true masks.
        missing: an image without a pseudo-mask is an "error" or is left out ("skip").
        augment: random crops, mirroring and colours for the training images.
        ignore_below: see `PseudoMasked`.
        validate_on: masks to validate on: "true" ones, "pseudo" ones, or what there is ("auto").
        image_size: side of the square input, or [height, width]; None takes that of `data`.
        batch_size: images of a batch; None takes that of `data`.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`; None takes that of
            `data`.
        crop: learn from random squares of so many pixels, see `train_transform`; None takes that of `data`.
        views: draws of the augmentation of each training image, which are learnt from in turn; None draws anew in every
            epoch. See `hedgeseg.data.views`.
        features: folder in which what a frozen trunk says of the views is kept, so that it runs once; needs `views`.

    Raises:
        ValueError: an argument out of range, or two that do not fit each other.
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
        ignore_below: float = 0.0,
        validate_on: Literal["auto", "true", "pseudo"] = "auto",
        views: int | None = None,
        features: str | None = None,
    ) -> None:
        if (views is not None and views < 1) or (features is not None and views is None):
            raise ValueError(f"features needs a number of views of each image, at least 1; got views={views}")
        if missing not in ("error", "skip"):
            raise ValueError(f"missing is 'error' or 'skip', got {missing!r}")
        if validate_on not in ("auto", "true", "pseudo"):
            raise ValueError(f"validate_on is 'auto', 'true' or 'pseudo', got {validate_on!r}")
        if validate_on == "pseudo" and masks is None:
            raise ValueError("validate_on='pseudo' needs a folder of pseudo-masks: give masks")
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
        self.ignore_below = ignore_below
        self.validate_on = validate_on
        self.views = views
        self.features = features
        self.mean, self.std = data.mean, data.std

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the wrapped data module."""
        return self.data.classes

    def prepare_data(self) -> None:
        """What the wrapped data module does."""
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Puts the masks beside the images, checks that none is missing.

        Raises:
            ValueError: no images to learn from, all of them are validated on, or no masks of the kind asked for.
        """
        self.data.setup("validate")  # to learn from masks no class needs images without it
        learnt, watched = self.data.predict_dataset, self.data.val_dataset
        if learnt is None or watched is None:
            raise ValueError(f"{type(self.data).__name__} has no prediction set or no validation set")
        learnt = _apart(learnt, watched)
        still = self.eval_transform
        moving = self.train_transform if self.augment else still
        if self.masks is None:
            self.train_dataset = ImageSubset(learnt, range(len(learnt)), moving, random=self.augment)
        else:
            self.train_dataset = PseudoMasked(
                learnt, self.masks, moving, random=self.augment, missing=self.missing, ignore_below=self.ignore_below
            )
        self.val_dataset = self._watched(watched, still)
        self.predict_dataset = self.val_dataset or ImageSubset(watched, range(len(watched)), still)

    def train_dataloader(self) -> Any:
        """Batches to learn from: of new draws, of fixed views, or of what a frozen trunk says of these."""
        if self.views is None:
            return super().train_dataloader()
        dataset = self._ready(self.train_dataset, "train")
        return learning_loader(
            self,
            dataset,
            self.views,
            self.features,
            seed=self.seed,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )

    def val_dataloader(self) -> Any:
        """Batches of the validation set in order; none where it has no masks of either kind."""
        return super().val_dataloader() if self.val_dataset is not None else []

    def _watched(self, watched: LabelledImages, still: Pipeline) -> LabelledImages | None:
        true = [] if self.validate_on == "pseudo" else [i for i in range(len(watched)) if _has_mask(watched, i)]
        if true:
            return ImageSubset(watched, true, still)
        if self.validate_on == "true":
            raise ValueError("validate_on='true', but no validation image has a mask")
        if self.masks is None:
            return None
        try:
            return PseudoMasked(watched, self.masks, still, missing="skip", ignore_below=self.ignore_below)
        except FileNotFoundError:
            return None


def _has_mask(dataset: LabelledImages, index: int) -> bool:
    return dataset.mask(index) is not None


def _apart(learnt: LabelledImages, watched: LabelledImages) -> LabelledImages:
    """The images to learn from, without those that are validated on."""
    held_back = set(watched.ids)
    kept = [index for index, name in enumerate(learnt.ids) if name not in held_back]
    if not kept:
        raise ValueError(
            f"all {len(learnt)} images to learn from are validated on as well, such as {learnt.ids[0]!r}: give the "
            "wrapped data module a train_fraction, and predict: train or all"
        )
    return learnt if len(kept) == len(learnt) else ImageSubset(learnt, kept, learnt.transform, learnt.random)


def _confidence(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """How sure each pixel of a mask is."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            if "confidence" in stored.files:
                found: np.ndarray = stored["confidence"]
                if found.shape == shape:
                    return found
                raise ValueError(f"{path}: confidence of shape {found.shape}, the mask has {shape}")
    raise ValueError(f"ignore_below needs the confidence of each pixel, and there is none in {path}")


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
