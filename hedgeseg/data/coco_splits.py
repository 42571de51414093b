"""COCO 2014 and 2017 as published: image folders per split and `annotations/instances_<split>.json`."""

from typing import Any, Literal

from hedgeseg.data.archives import Archive, Source
from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.coco_instances import Instances, read_instances
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.data.published import PublishedDataModule

_MD5 = {
    "train2014": "0da8c0bd3d6becc4dcb32757491aca88",
    "val2014": "a3d79f5ed8d289b7a7554ce06a5782b3",
    "annotations_trainval2014": "0a379cfc70b0e71301e0f377548639bd",
    "train2017": "cced6f7f71b7629ddf16f17bbcfab6b2",
    "val2017": "442b8da7639aecaf257c1dceb8ba8c80",
    "annotations_trainval2017": "f4bbac642086de4f52a3fdda2de5fa2c",
}


def coco_source(year: int) -> Source:
    """The archives of a year; torchvision cannot download them."""
    archives = tuple(Archive(f"{name}.zip", md5) for name, md5 in _MD5.items() if name.endswith(str(year)))
    return Source(
        f"COCO {year}",
        archives,
        f"get {', '.join(archive.name for archive in archives)} from https://cocodataset.org/#download and unpack all "
        "of them into ROOT",
    )


class CocoDataModule(PublishedDataModule):
    """COCO with its own train and val split; 80 classes in the order of the category ids.

    Masks are painted from the segmentations, or read from `masks/<split>/` where that folder is there.

    Args:
        root: folder with `train<year>`, `val<year>` and `annotations`.
        year: 2014 (weakly supervised segmentation) or 2017 (the same images, split otherwise).
        predict: split to make seeds for.
        image_size: side of the square input, or [height, width].
        options: of `PublishedDataModule`.
    """

    def __init__(
        self,
        root: str,
        year: Literal[2014, 2017] = 2014,
        predict: Literal["train", "val"] = "train",
        image_size: int | list[int] = 320,
        **options: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **options)
        self.save_hyperparameters()
        self.year = year
        self.predict = predict
        self._classes: tuple[str, ...] | None = None
        self._instances: dict[str, Instances] = {}  # until the images are read: a file takes long and is read once

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, read from the validation annotations."""
        if self._classes is None:
            self._classes = self._read("val").classes
        return self._classes

    def setup(self, stage: str | None = None) -> None:
        """Reads the annotations of both splits.

        Raises:
            FileNotFoundError: a split's images or annotations are missing (says where to get them).
            ValueError: the splits differ in their classes.
        """
        if self.val_dataset is not None:
            return
        train, self.val_dataset = self._split("train"), self._split("val")
        if train.classes != self.val_dataset.classes:
            differ = sorted(set(train.classes) ^ set(self.val_dataset.classes))
            raise ValueError(f"{self.root}: the categories of train and val differ: {differ or 'their order'}")
        self.train_dataset = ImageSubset(train, range(len(train)), self.train_transform, random=True)
        self.predict_dataset = self.val_dataset if self.predict == "val" else train
        self._instances.clear()

    def _split(self, split: str) -> CocoFolder:
        folder, instances = f"{split}{self.year}", self._read(split)
        entries = instances.images.values()
        coco_source(self.year).require((self.root / folder / entry["file_name"] for entry in entries), self.root)
        return CocoFolder(
            self.root,
            self.eval_transform,
            images=folder,
            masks=f"masks/{folder}",
            verify=self.verify,
            instances=instances,
        )

    def _read(self, split: str) -> Instances:
        if split not in self._instances:
            path = self.root / "annotations" / f"instances_{split}{self.year}.json"
            if not path.is_file():
                raise FileNotFoundError(f"{path} not found: {coco_source(self.year).advice(self.root)}")
            self._instances[split] = read_instances(path)
        return self._instances[split]
