"""Outside-inside relevance ratio: how strong is a map off the object, relative to on it?

Eq. 14 of the paper: `mu = mean_{q outside} N(R_q) / mean_{p inside} N(R_p)` where N rescales each map to [0, 1] by
its minimum and maximum. 1 means uninformative, lower is better. The paper does not say how maps are averaged: the
headline is the mean of the ratios, and the ratio of the means is reported too.

The value depends on contrast, not only on ranking: raising a map to a power of 3 can halve it, and a single negative
outlier pushes it towards 1. Hence the companions: `outside_inside_ratio_clipped` (N between the 1st and 99th
percentile) and `outside_inside_ratio_positive` (N on max(R, 0)), and RankAccuracy, which depends on ranking alone.
For maps with few positive pixels the inside mean of the positive variant comes close to 0, and a single ratio can
dominate the mean: there, trust `outside_inside_ratio_positive_of_means`.
"""

from typing import ClassVar

import torch
from torch import Tensor

from hedgeseg.metrics.map_metric import LocalisationMetric
from hedgeseg.metrics.pairs import Pairs, pair_up

__all__ = ["OutsideInsideRatio", "min_max", "outside_inside_ratios"]

CLIP = (0.01, 0.99)


def outside_inside_ratios(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    """Ratio of every map under each normalisation, and the means that the plain and the positive one divide.

    Args:
        maps: float `(B, h, w)` of any range; resized bilinearly to the masks' size if that differs.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None; false pixels are neither inside nor outside, nor do they take part in N.

    Returns:
        `(B,)` tensors by name: `outside_inside_ratio`, `outside_inside_ratio_clipped`,
        `outside_inside_ratio_positive`, and `outside_mean`, `inside_mean`, `outside_positive_mean`,
        `inside_positive_mean`. NaN for an empty or full mask, and for a ratio whose inside mean is 0 (infinite). A
        constant map, for which N is undefined, has ratio 1 and means NaN.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    return _per_map(pair_up(maps, masks, valid))


def min_max(maps: Tensor, valid: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Rescale `(B, H, W)` maps to [0, 1] by the extremes of their valid pixels, or by given bounds `(B,)`, clipping.

    A map without range (constant) becomes NaN.
    """
    if low is None:
        low = maps.masked_fill(~valid, torch.inf).flatten(1).amin(1)
    if high is None:
        high = maps.masked_fill(~valid, -torch.inf).flatten(1).amax(1)
    bottom, top = low[:, None, None], high[:, None, None]
    # Halving before subtracting keeps the range of the largest floats finite.
    scaled = (maps.clamp(bottom, top) / 2 - bottom / 2) / (top / 2 - bottom / 2)
    return scaled.masked_fill(~(top > bottom), torch.nan)


def _percentiles(maps: Tensor, valid: Tensor, quantiles: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Linearly interpolated quantiles of each map's valid pixels, `(B,)` each; torch.quantile takes no mask."""
    ordered = maps.masked_fill(~valid, torch.inf).flatten(1).sort(1).values
    last = (valid.flatten(1).sum(1, keepdim=True) - 1).clamp(min=0)
    position = last * torch.tensor(quantiles, dtype=maps.dtype, device=maps.device)
    below, above = ordered.gather(1, position.long()), ordered.gather(1, position.ceil().long())
    bounds = torch.lerp(below, above, position.frac())
    return bounds[:, 0], bounds[:, 1]


def _means(scaled: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    outside = pairs.valid & ~pairs.masks
    means = [
        scaled.masked_fill(~where, 0.0).flatten(1).sum(1) / where.flatten(1).sum(1) for where in (outside, pairs.masks)
    ]
    return means[0], means[1]


def _ratio(scaled: Tensor, pairs: Pairs) -> Tensor:
    outside, inside = _means(scaled, pairs)
    ratio = (outside / inside).masked_fill(inside == 0, torch.nan)
    constant = scaled.isnan().flatten(1).all(1)
    return ratio.masked_fill(constant, 1.0).masked_fill(pairs.trivial, torch.nan)


def _per_map(pairs: Pairs) -> dict[str, Tensor]:
    maps, valid = pairs.maps, pairs.valid
    plain = min_max(maps, valid)
    clipped = min_max(maps, valid, *_percentiles(maps, valid, CLIP))
    positive = min_max(maps.clamp(min=0.0), valid)
    names = ("outside_mean", "inside_mean", "outside_positive_mean", "inside_positive_mean")
    means = dict(zip(names, (*_means(plain, pairs), *_means(positive, pairs)), strict=True))
    return {
        "outside_inside_ratio": _ratio(plain, pairs),
        "outside_inside_ratio_clipped": _ratio(clipped, pairs),
        "outside_inside_ratio_positive": _ratio(positive, pairs),
        **{name: mean.masked_fill(pairs.trivial, torch.nan) for name, mean in means.items()},
    }


class OutsideInsideRatio(LocalisationMetric):
    """Mean outside-inside ratio (Eq. 14) and its less contrast-bound variants; lower is better.

    `compute()` returns `outside_inside_ratio` (mean of ratios), `outside_inside_ratio_of_means`,
    `outside_inside_ratio_clipped`, `outside_inside_ratio_positive`, `outside_inside_ratio_positive_of_means`,
    `outside_inside_ratio_maps`, `outside_inside_ratio_skipped` and, with `num_classes`,
    `outside_inside_ratio_class_mean` and `outside_inside_ratio_per_class`.

    Skipped are empty and full masks and maps that are at their minimum everywhere inside (an infinite ratio).

    Args:
        num_classes: number of classes; None for a single mean over maps.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = OutsideInsideRatio()
        >>> mask = torch.tensor([[[True, False], [False, False]]])
        >>> metric.update(torch.tensor([[[4.0, 2.0], [1.0, 0.0]]]), mask)
        >>> metric.compute()["outside_inside_ratio"]
        tensor(0.2500)
    """

    higher_is_better = False
    value_names: ClassVar[tuple[str, ...]] = (
        "outside_inside_ratio",
        "outside_inside_ratio_clipped",
        "outside_inside_ratio_positive",
        "outside_mean",
        "inside_mean",
        "outside_positive_mean",
        "inside_positive_mean",
    )

    score = staticmethod(outside_inside_ratios)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        result = super().compute()
        for variant, part in (("", ""), ("_positive", "positive_")):
            ratio = result.pop(f"outside_{part}mean") / result.pop(f"inside_{part}mean")
            result[f"outside_inside_ratio{variant}_of_means"] = ratio
        return result
