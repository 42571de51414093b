"""The bootstrap's arithmetic: what a number becomes when images are drawn again, or exchanged between two methods.

A *statistic* turns weights of images into numbers: float64 `(R, N)`, how often each of N images is in each of R data
sets, to float64 `(R,)`. A mean over maps is one, and so is whatever is computed of pooled counts: a mean IoU, the area
under a precision-recall curve.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "Comparison",
    "Interval",
    "Statistic",
    "compare_pooled",
    "drawn",
    "pooled_interval",
    "quantiles",
    "random_signs",
    "resampled",
]

CHUNK = 256

Statistic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; NaN throughout if no value is defined."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Mean of first minus second with its confidence interval.

    Attributes:
        difference: first minus second.
        low: lower end of the interval.
        high: upper end.
        p_value: two-sided, of the sign-flip test: without a difference between the methods, the sign of each image's
            difference is a coin's, so how often are random signs at least as extreme? At least 1 / (resamples + 1).
        maps: number of maps on which both are defined.
    """

    difference: float
    low: float
    high: float
    p_value: float
    maps: int


def pooled_interval(
    statistic: Statistic, images: int, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """A statistic of all images together, with its percentile bootstrap interval over images.

    Args:
        statistic: of weighted images.
        images: how many there are.
        level: of confidence, in (0, 1).
        resamples: number of resampled data sets.
        seed: of the resampling; the global random state is not used.
    """
    if not images:
        return Interval(math.nan, math.nan, math.nan)
    once = torch.ones(1, images, dtype=torch.float64)
    return Interval(float(statistic(once)), *quantiles(resampled(statistic, images, resamples, seed), level))


def compare_pooled(
    statistic: Statistic, images: int, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Paired comparison of two methods on the same images, first minus second.

    Without a difference between the methods, an image's two results could as well be exchanged.

    Args:
        statistic: of the results of both in one pool: those of the first, then those of the second, image by image.
        images: how many there are; the statistic takes weights of twice as many results.
        level: of confidence.
        resamples: number of resampled data sets, and of random exchanges.
        seed: of both.
    """

    def difference(ours: Tensor, theirs: Tensor) -> Tensor:
        return statistic(torch.cat([ours, theirs], 1)) - statistic(torch.cat([theirs, ours], 1))

    once = torch.ones(1, images, dtype=torch.float64)
    observed = float(difference(once, torch.zeros_like(once)))
    low, high = quantiles(resampled(lambda w: difference(w, torch.zeros_like(w)), images, resamples, seed), level)
    beyond = 0
    for signs in random_signs(images, resamples, seed):
        swap = (signs + 1) / 2
        beyond += int((difference(1 - swap, swap).abs() >= abs(observed) - 1e-12).sum())
    return Comparison(observed, low, high, (beyond + 1) / (resamples + 1), images)


def resampled(statistic: Statistic, images: int, resamples: int, seed: int) -> Tensor:
    """The statistic of resampled data sets, float64 `(resamples,)`."""
    if not images:
        return torch.full((resamples,), math.nan, dtype=torch.float64)
    return torch.cat([statistic(weights) for weights in drawn(images, resamples, seed)])


def drawn(images: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """How often each image is in each resampled data set: float64 `(R, images)`, some data sets at a time."""
    generator = torch.Generator().manual_seed(seed)
    for size in _chunks(resamples):
        rows = torch.randint(images, (size, images), generator=generator)
        yield torch.zeros(rows.shape, dtype=torch.float64).scatter_add_(1, rows, torch.ones_like(rows).double())


def random_signs(images: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """A random sign for each image in each data set, float64 `(R, images)`, some data sets at a time."""
    generator = torch.Generator().manual_seed(seed)
    for size in _chunks(resamples):
        yield 2 * torch.randint(2, (size, images), generator=generator).double() - 1


def quantiles(values: Tensor, level: float) -> tuple[float, float]:
    """The ends between which the middle `level` of the values lies."""
    low, high = torch.quantile(values, values.new_tensor([(1 - level) / 2, (1 + level) / 2])).tolist()
    return low, high


def _chunks(resamples: int) -> list[int]:
    return [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
