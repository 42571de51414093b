"""What the data modules of published data sets share: a folder they lie in, and splits that are fixed."""

from pathlib import Path

import albumentations as A

from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.transforms import eval_transform, train_transform


class PublishedDataModule(ImageDataModule):
    """Base of data modules over a data set as it is published.

    Args:
        root: folder of the data.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused by the splits, which are fixed; kept with the run.
        verify: decode every image once at the start, skip and count broken ones.
        keep_shape: validate and predict at the shape of the photographs, the shorter side `image_size` long, one image
            per batch: the protocol of the pointing game.

    Raises:
        ValueError: `keep_shape` with two sides.
    """

    def __init__(
        self,
        root: str,
        image_size: int | list[int] = 224,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        verify: bool = False,
        keep_shape: bool = False,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed)
        if keep_shape and self.image_size[0] != self.image_size[1]:
            raise ValueError(f"keep_shape takes one number, the shorter side, got image_size={image_size}")
        self.root = Path(root)
        self.verify = verify
        self.keep_shape = keep_shape

    @property
    def still(self) -> A.Compose:
        """The pipeline of images that are looked at."""
        return eval_transform(self.image_size, keep_shape=self.keep_shape)

    @property
    def moving(self) -> A.Compose:
        """The pipeline of images that are learnt from."""
        return train_transform(self.image_size)
