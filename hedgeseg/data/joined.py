"""Several data sets of the same classes as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.transforms import Pipeline


class JoinedImages(LabelledImages):
    """The images of several data sets, one after the other.

    Args:
        sources: data sets of the same classes, without an id in common.
        transform: pipeline over image, mask and boxes.

    Raises:
        ValueError: classes or tasks differ, or an id occurs twice.
    """

    def __init__(self, sources: Sequence[LabelledImages], transform: Pipeline | None = None) -> None:
        ids = [name for source in sources for name in source.ids]
        super().__init__(sources[0].classes, ids, transform)
        for source in sources:
            if source.classes != self.classes or source.task != sources[0].task:
                raise ValueError(f"data sets of other classes or tasks: {self.classes} and {source.classes}")
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise ValueError(f"image {twice!r} is in two of the data sets that are joined")
        self.task = sources[0].task
        self.places = [(source, index) for source in sources for index in range(len(source))]

    def image(self, index: int) -> np.ndarray:
        """The source's image."""
        source, place = self.places[index]
        return source.image(place)

    def mask(self, index: int) -> np.ndarray | None:
        """The source's mask."""
        source, place = self.places[index]
        return source.mask(place)

    def labels(self, index: int) -> tuple[int, ...]:
        """The source's labels."""
        source, place = self.places[index]
        return source.labels(place)

    def boxes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The source's boxes."""
        source, place = self.places[index]
        return source.boxes(place)
