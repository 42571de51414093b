"""COCO 2014 and 2017 as published: image folders per split and `annotations/instances_<split>.json`."""

from pathlib import Path
from typing import Literal

from hedgeseg.data.coco import CocoFolder, read_instances
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.transforms import eval_transform, train_transform

_MANUAL = (
    "get train{year}.zip, val{year}.zip and annotations_trainval{year}.zip from https://cocodataset.org/#download and "
    "unpack all three into ROOT"
)


class CocoDataModule(ImageDataModule):
    """COCO with its own train and val split; 80 classes in the order of the category ids.

    Masks are painted from the segmentations, or read from `masks/<split>/` where that folder is there.

    Args:
        root: folder with `train<year>`, `val<year>` and `annotations`.
        year: 2014 (weakly supervised segmentation) or 2017 (the same images, split otherwise).
        predict: split to make seeds for.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused by the splits, which are fixed; kept with the run.
        verify: decode every image once at the start, skip and count broken ones.
    """

    def __init__(
        self,
        root: str,
        year: Literal[2014, 2017] = 2014,
        predict: Literal["train", "val"] = "train",
        image_size: int | list[int] = 320,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        verify: bool = False,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        self.save_hyperparameters()
        self.root = Path(root)
        self.year = year
        self.predict = predict
        self.verify = verify
        self._classes: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, read from the validation annotations."""
        if self._classes is None:
            self._classes = read_instances(self._annotation("val")).classes
        return self._classes

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations of both splits.

        Raises:
            FileNotFoundError: a split's images or annotations are missing (says where to get them).
        """
        if self.val_dataset is not None:
            return
        self.train_dataset = self._split("train", moving=True)
        self.val_dataset = self._split("val")
        self.predict_dataset = self.val_dataset if self.predict == "val" else self._split("train")

    def _split(self, split: str, moving: bool = False) -> CocoFolder:
        make = train_transform if moving else eval_transform
        folder = f"{split}{self.year}"
        return CocoFolder(
            self.root,
            make(self.image_size),
            random=moving,
            annotation=self._annotation(split).relative_to(self.root).as_posix(),
            images=folder,
            masks=f"masks/{folder}",
            verify=self.verify,
        )

    def _annotation(self, split: str) -> Path:
        path = self.root / "annotations" / f"instances_{split}{self.year}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} not found: {_MANUAL.format(year=self.year)}")
        return path
