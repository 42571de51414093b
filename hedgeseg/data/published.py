"""What the data modules of published data sets share: a folder they lie in, and splits that are fixed."""

from pathlib import Path

from hedgeseg.data.fit import Fit
from hedgeseg.data.module import ImageDataModule


class PublishedDataModule(ImageDataModule):
    """Base of data modules over a data set as it is published.

    Args:
        root: folder of the data.
        image_size: side of the square input, or [height, width].
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
        seed: unused by the splits, which are fixed; kept with the run.
        verify: decode every image once at the start, skip and count broken ones.
        keep_shape: the same as `fit: short`, the protocol of the pointing game.
        fit: how pictures that are looked at are fitted to `image_size`, see `hedgeseg.data.fit`.
        crop: learn from random squares of so many pixels instead of resized crops, see `train_transform`.
        long_sides: with `crop`, range of the long side that pictures are scaled to first, such as [320, 640].

    Raises:
        ValueError: `keep_shape` with two sides, or another fit.
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
        fit: Fit | None = None,
        crop: int | None = None,
        long_sides: list[int] | None = None,
    ) -> None:
        if keep_shape and fit not in (None, "short"):
            raise ValueError(f"keep_shape means fit='short', but fit is {fit!r}: leave one of them out")
        super().__init__(image_size, batch_size, num_workers, seed, "short" if keep_shape else fit, crop, long_sides)
        if keep_shape and self.image_size[0] != self.image_size[1]:
            raise ValueError(f"keep_shape takes one number, the shorter side, got image_size={image_size}")
        self.root = Path(root)
        self.verify = verify
