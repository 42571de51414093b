"""A few fixed draws of the augmentation of every picture, its views, instead of a new one in every epoch.

What is drawn depends on seed, picture and view alone. So a network whose lower part is frozen needs to run that part
once per view, however long it learns (`hedgeseg.data.feature_cache`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import Dataset, Sampler

from hedgeseg.data.batch import Sample
from hedgeseg.data.dataset import LabelledImages

View = tuple[int, int]
"""Position of a picture, and number of its view."""


def mixed(seed: int, number: int) -> int:
    """A seed of its own for every number."""
    return (seed * 1_000_003 + number * 7_919 + 17) % 2**62


class DrawnViews(Dataset[Sample]):
    """Views of the images of a data set: `views[index, view]` is the same sample every time.

    Args:
        source: the data set; its pipeline draws, or there is one view.
        count: views of each image.
        seed: of the draws.

    Raises:
        ValueError: no view, or several of images whose pipeline draws nothing.
    """

    def __init__(self, source: LabelledImages, count: int, seed: int = 0) -> None:
        if count < 1:
            raise ValueError(f"an image needs at least one view, got {count}")
        if count > 1 and not source.random:
            raise ValueError(f"{count} views of images that are not augmented would be {count} times the same")
        self.source = source
        self.count = count
        self.seed = seed

    def __getitem__(self, view: View) -> Sample:
        index, number = view
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed(self.seed, index * self.count + number))
            return self.source[index]

    def __len__(self) -> int:
        return len(self.source)


class ViewOrder(Sampler[View]):
    """All images in an order of their own for every epoch; an image shows its views in turn, each starting elsewhere.

    Args:
        count: number of images.
        views: of each image.
        seed: of the run.
        epoch: tells the number of the epoch.
    """

    def __init__(self, count: int, views: int, seed: int, epoch: Callable[[], int]) -> None:
        self.count = count
        self.views = views
        self.seed = seed
        self.epoch = epoch

    def __iter__(self) -> Iterator[View]:
        epoch = self.epoch()
        generator = torch.Generator().manual_seed(mixed(self.seed, epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        return iter([(index, (index + epoch) % self.views) for index in order])

    def __len__(self) -> int:
        return self.count
