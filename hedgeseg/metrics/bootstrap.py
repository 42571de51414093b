"""How sure is a mean over maps, and is one method really better than another?

The percentile bootstrap over images: maps of one image share its difficulty, so images are drawn, not maps. Two
methods are compared on the same images, drawn together, which removes that difficulty from the difference.
"""

import math

import torch
from torch import Tensor

from hedgeseg.metrics.resampling import Comparison, Interval, Statistic, quantiles, random_signs, resampled

__all__ = ["Comparison", "Interval", "compare", "confidence_interval", "ratio_interval"]


def confidence_interval(
    values: Tensor,
    images: Tensor | None = None,
    classes: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean of per-map values with a bootstrap confidence interval.

    Args:
        values: float `(B,)`; NaN where undefined.
        images: int `(B,)`, which image each map belongs to; None if each has its own.
        classes: int `(B,)`; if given, the mean is the unweighted mean over classes (as in the pointing game).
        level: of confidence, in (0, 1).
        resamples: number of resampled data sets.
        seed: of the resampling; the global random state is not used.

    Raises:
        ValueError: if shapes disagree or an option is out of range.
    """
    _validate(values, images, classes, level, resamples)
    total, count = _sums(values, images, classes)
    return _interval(_mean(total, count), resampled(_mean_of(total, count), len(total), resamples, seed), level)


def ratio_interval(
    numerator: Tensor,
    denominator: Tensor,
    images: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Ratio of two means over maps, with a bootstrap confidence interval.

    Args:
        numerator: float `(B,)`; NaN where undefined. A map counts only where both are defined.
        denominator: float `(B,)`, of the same maps.
        images: as in `confidence_interval`.
        level: of confidence, in (0, 1).
        resamples: number of resampled data sets; both means are taken over the same.
        seed: of the resampling.

    Raises:
        ValueError: if shapes disagree or an option is out of range.
    """
    if numerator.shape != denominator.shape:
        raise ValueError(f"both must be of the same maps: {tuple(numerator.shape)}, {tuple(denominator.shape)}")
    _validate(numerator, images, None, level, resamples)
    both = ~(numerator.isnan() | denominator.isnan())
    sums = [_sums(column.masked_fill(~both, torch.nan), images, None) for column in (numerator, denominator)]
    means, drawn = (
        [_mean(*part) for part in sums],
        [resampled(_mean_of(*part), len(part[0]), resamples, seed) for part in sums],
    )
    return _interval(means[0] / means[1], drawn[0] / drawn[1], level)


def compare(
    first: Tensor,
    second: Tensor,
    images: Tensor | None = None,
    classes: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Paired comparison of two methods' per-map values on the same maps.

    Args:
        first: float `(B,)`; NaN where undefined. A map counts only where both are defined.
        second: float `(B,)`, in the same order.
        images: as in `confidence_interval`.
        classes: as in `confidence_interval`.
        level: of confidence, in (0, 1).
        resamples: number of resampled data sets, and of random signs.
        seed: of both.

    Raises:
        ValueError: if shapes disagree or an option is out of range.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two methods were scored on different maps: {tuple(first.shape)}, {tuple(second.shape)}")
    difference = first.detach().double().cpu() - second.detach().double().cpu()
    _validate(difference, images, classes, level, resamples)
    total, count = _sums(difference, images, classes)
    interval = _interval(_mean(total, count), resampled(_mean_of(total, count), len(total), resamples, seed), level)
    maps = int((~difference.isnan()).sum())
    p_value = _sign_flip(total, count, resamples, seed) if maps else math.nan
    return Comparison(interval.mean, interval.low, interval.high, p_value, maps)


def _validate(values: Tensor, images: Tensor | None, classes: Tensor | None, level: float, resamples: int) -> None:
    for name, column in (("values", values), ("images", images), ("classes", classes)):
        if column is not None and column.shape != (values.numel(),):
            raise ValueError(f"{name} must be one number per map, ({values.numel()},), got {tuple(column.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")


def _sums(values: Tensor, images: Tensor | None, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum and number of the defined values by image and class, float64 `(I, C)` each; I is 0 if there is none.

    A resampled data set only weighs the images.
    """
    values = values.detach().double().cpu()
    defined = ~values.isnan()
    values = values[defined]
    rows, columns = (
        torch.unique(column.cpu()[defined], return_inverse=True)[1] if column is not None else fallback(len(values))
        for column, fallback in ((images, torch.arange), (classes, _one_class))
    )
    shape = (int(rows.max()) + 1, int(columns.max()) + 1) if len(values) else (0, 1)
    total, count = (
        torch.zeros(shape, dtype=torch.float64).index_put_((rows, columns), column, accumulate=True)
        for column in (values, torch.ones_like(values))
    )
    return total, count


def _mean(total: Tensor, count: Tensor) -> Tensor:
    """The mean over all values, or over the classes' means."""
    return (total.sum(-2) / count.sum(-2)).nanmean(-1)


def _mean_of(total: Tensor, count: Tensor) -> Statistic:
    """The mean over classes and maps of weighted images."""
    return lambda weights: ((weights @ total) / (weights @ count)).nanmean(1)


def _sign_flip(total: Tensor, count: Tensor, resamples: int, seed: int) -> float:
    """How often random signs of the images' differences make the mean at least as far from 0 as it is."""
    observed = float(_mean(total, count).abs())
    beyond = 0
    for signs in random_signs(len(total), resamples, seed):
        means = ((signs @ total) / count.sum(0)).nanmean(1)
        # Sums in another order differ in the last bits, and a difference of exactly 0 must not look significant.
        beyond += int((means.abs() >= observed * (1 - 1e-9)).sum())
    return (beyond + 1) / (resamples + 1)


def _one_class(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def _interval(mean: Tensor, means: Tensor, level: float) -> Interval:
    return Interval(float(mean), *quantiles(means, level))
