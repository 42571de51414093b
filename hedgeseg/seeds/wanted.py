"""A seed that is wanted: the image, its classes, and what else is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Wanted:
    """One image of several that `SeedGenerator.several` makes seeds of.

    Attributes:
        image: float (C, H, W) or (1, C, H, W), normalised as the model takes it.
        classes: indices of the labels the image has.
        size: (height, width) of the seed; the image's own without it.
        picture: uint8 (H, W, 3), the photograph that `image` was made of.
        name: id of the image, by which files of it are found.
    """

    image: Tensor
    classes: Sequence[int] | Tensor
    size: tuple[int, int] | None = None
    picture: np.ndarray | Tensor | None = None
    name: str | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the seed."""
        return self.size or (int(self.image.shape[-2]), int(self.image.shape[-1]))


def alike_in_shape(images: Sequence[Tensor], classes: Sequence[Tensor], most: int) -> list[list[int]]:
    """Positions of images that one call explains, in their order: of one shape, with equally many classes.

    Args:
        images: (C, H, W) each.
        classes: their class indices; images of none are left out.
        most: images of a group.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, (image, found) in enumerate(zip(images, classes, strict=True)):
        if len(found):
            groups.setdefault((tuple(image.shape), image.dtype, len(found)), []).append(position)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


def one_image(image: Tensor) -> Tensor:
    """The image as float (C, H, W).

    Raises:
        ValueError: a batch of several images, another rank, or an integer image.
    """
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3:
        raise ValueError(
            f"a seed is made from one image, (C, H, W) or (1, C, H, W), got {tuple(image.shape)}; loop over a batch"
        )
    if not image.is_floating_point():
        raise ValueError(f"image must be float and normalised as the model takes it, got {image.dtype}")
    return image
