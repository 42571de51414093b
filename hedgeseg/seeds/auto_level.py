"""The level without masks: how far a class's scores stand out from their own mean.

What a level means differs between maps, networks and classes: the best one for spread FullGrad is 0.7 where that of
hedged relevance is 0.1. The mean and the deviation of the scores move with it: `mean + 0.75 deviations`, over all
pixels of all images that have the class, each image counting alike. Of eleven rules that look at the scores alone
(`docs/seeds.md` names them), it stayed nearest to the best level on photographs and on defects, for spread and
unspread maps. One image's own mean and deviation do when there is no more than one image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from hedgeseg.seeds.background import Background

    Rule = Callable[[Sequence[int]], Background]

HIGHEST = 0.95
"""No level is higher: the class is in the image, so its peak is foreground."""


@dataclass(frozen=True)
class Moments:
    """Mean score and mean squared score of one class, summed over images.

    Attributes:
        images: how many.
        mean: sum of their mean scores.
        square: sum of their mean squared scores.
    """

    images: int
    mean: float
    square: float

    @property
    def participation(self) -> float:
        """Squared mean over mean square: the share of the pixels that scores of two values, one of them 0, cover."""
        return self.mean**2 / (self.images * self.square) if self.square > 0 else 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.images + other.images, self.mean + other.mean, self.square + other.square)


@dataclass(frozen=True)
class Auto:
    """`mean + width * deviation` of a class's scores: of one image, or of all images that have the class.

    As a background rule it knows one image. `over` makes the rule of a data set, which `SeedWriter` and `hedgeseg
    refine` cut their masks with.

    Args:
        width: in standard deviations; larger gives smaller objects.

    Example:
        >>> import torch
        >>> (level,) = Auto().levels(torch.tensor([[[0.0, 0.0, 0.0, 1.0]]]))
        >>> level.shape, round(level.item(), 3)
        (torch.Size([1, 1, 1]), 0.575)
    """

    width: float = 0.75

    def __post_init__(self) -> None:
        if not -5 <= self.width <= 5:
            raise ValueError(f"width is a number of standard deviations such as 0.75, got {self.width}")

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (K, 1, 1), of this image alone."""
        levels = [self.level(found) for found in moments(scores)]
        return (scores.new_tensor(levels).view(-1, 1, 1),)

    def level(self, found: Moments) -> float:
        """The level in [0, 1] of a class with these moments."""
        mean, square = found.mean / found.images, found.square / found.images
        return min(HIGHEST, max(0.0, mean + self.width * max(0.0, square - mean**2) ** 0.5))

    def over(self, pooled: PooledMoments, classes: Sequence[int]) -> PerClass:
        """The rule for an image with these classes, in their order, of the data set that was pooled."""
        return PerClass(tuple(self.level(pooled[c]) for c in classes))


@dataclass(frozen=True)
class PerClass:
    """Known levels, one for each class of the image."""

    known: tuple[float, ...]

    def levels(self, scores: Tensor) -> tuple[Tensor, ...]:
        """One level (K, 1, 1).

        Raises:
            ValueError: another number of classes.
        """
        if len(scores) != len(self.known):
            raise ValueError(f"levels of {len(self.known)} classes for scores of {len(scores)}")
        return (scores.new_tensor(self.known).view(-1, 1, 1),)


class PooledMoments:
    """Moments of every class, grown image by image."""

    def __init__(self) -> None:
        self._of: dict[int, Moments] = {}

    def add(self, scores: Tensor, classes: Iterable[int]) -> None:
        """Add one image.

        Args:
            scores: float (K, H, W) in [0, 1].
            classes: their K indices.
        """
        for c, found in zip(classes, moments(scores), strict=True):
            self._of[c] = self._of[c] + found if c in self._of else found

    @property
    def classes(self) -> tuple[int, ...]:
        """Indices of the classes of which there is an image."""
        return tuple(sorted(self._of))

    def __getitem__(self, index: int) -> Moments:
        return self._of[index]


def moments(scores: Tensor) -> list[Moments]:
    """Moments of each of the maps (K, H, W) of one image."""
    flat = scores.flatten(1).double()
    means, squares = flat.mean(1).tolist(), flat.square().mean(1).tolist()
    return [Moments(1, mean, square) for mean, square in zip(means, squares, strict=True)]


def rule_over(background: Background, scored: Iterable[tuple[Tensor, Sequence[int]]]) -> Rule:
    """The rule of every image of a data set: `Auto` looks at all scores first, any other rule at none.

    Args:
        background: a rule of one image.
        scored: scores (K, H, W) and the K classes of every image; read once, and only if the rule asks for it.

    Returns:
        From an image's classes to its rule.
    """
    if not isinstance(background, Auto):
        return lambda classes: background
    pooled = PooledMoments()
    for scores, classes in scored:
        pooled.add(scores, classes)
    return lambda classes: background.over(pooled, classes)
