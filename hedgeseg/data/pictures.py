"""New pictures, of which nothing is known: a folder or single files, to be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.fit import Fit
from hedgeseg.data.images import read_image
from hedgeseg.data.listing import IMAGE_SUFFIXES, images_in, is_image, stem
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Pipeline


def picture_files(sources: Sequence[str | Path]) -> dict[str, Path]:
    """Image files by name: of a folder the relative path without suffix, of a file its stem. Hidden ones are left out.

    Args:
        sources: folders, searched with their subfolders, and files.

    Raises:
        FileNotFoundError: a source is missing, or a folder holds no image.
        ValueError: two files have one name, or a file is no image by its suffix.
    """
    found: dict[str, Path] = {}
    for source in map(Path, sources):
        for name, path in _named(source):
            if name in found:
                raise ValueError(f"{found[name]} and {path} would both be called {name!r}; rename one of them")
            found[name] = path
    return found


class Pictures(LabelledImages):
    """Image files without labels.

    Args:
        files: path of each image by its name.
        classes: names of what may be seen in them.
        transform: pipeline over the image.
    """

    def __init__(self, files: Mapping[str, Path], classes: Sequence[str], transform: Pipeline | None = None) -> None:
        super().__init__(classes, list(files), transform)
        self.files = list(files.values())

    def image(self, index: int) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        return read_image(self.files[index])

    def labels(self, index: int) -> tuple[int, ...]:
        """Nothing is known."""
        return ()


class PicturesDataModule(ImageDataModule):
    """Pictures for `predict` alone.

    Args:
        sources: folders and files.
        classes: names of what may be seen in them.
        image_size: side of the square input, or [height, width].
        mean: per-channel mean of images in [0, 1].
        std: per-channel standard deviation of images in [0, 1].
        fit: how pictures are fitted to it, see `hedgeseg.data.fit`.
        batch_size: images of a batch.
        num_workers: processes that read images beside the main one.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        classes: Sequence[str],
        image_size: int | Sequence[int] = 224,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        fit: Fit | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, 0, fit)
        self.sources = list(sources)
        self.names = tuple(classes)
        self.mean, self.std = tuple(mean), tuple(std)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those given."""
        return self.names

    def setup(self, stage: str | None = None) -> None:
        """Lists the pictures."""
        self.predict_dataset = Pictures(picture_files(self.sources), self.names, self.eval_transform)


def _named(source: Path) -> list[tuple[str, Path]]:
    if source.is_file():
        if not is_image(source.name):
            raise ValueError(f"{source} is no image: its suffix is none of {', '.join(sorted(IMAGE_SUFFIXES))}")
        return [(source.stem, source)]
    if not source.is_dir():
        raise FileNotFoundError(f"there is neither a folder nor a file {source}")
    found = images_in(source)
    if not found:
        raise FileNotFoundError(f"{source} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return [(stem(relative), source / relative) for relative in found]
