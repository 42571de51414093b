"""All localisation metrics of a set of maps at once, with confidence intervals, and two methods compared.

`score_maps` gives one number per map and metric. Concatenate the batches of a data set, then `summarize` them into a
flat dictionary, or `compare_scores` of two methods scored on the same maps.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hedgeseg.metrics.bootstrap import compare, confidence_interval
from hedgeseg.metrics.outside_inside_ratio import outside_inside_ratios
from hedgeseg.metrics.pixel_average_precision import pixel_average_precisions
from hedgeseg.metrics.pointing_game import pointing_hits
from hedgeseg.metrics.positive_ratio import positive_ratios
from hedgeseg.metrics.rank_accuracy import rank_accuracies
from hedgeseg.metrics.resampling import Comparison, Interval

__all__ = ["compare_scores", "evaluate_maps", "score_maps", "summarize"]

CLASS_MEANS = frozenset(
    {
        "pointing_game",
        "pointing_game_difficult",
        "pointing_game_predicted",
        "pointing_game_difficult_predicted",
    }
)
"""Values whose mean is the unweighted mean over classes."""

Localiser = Callable[[Tensor, Tensor, Tensor | None], dict[str, Tensor]]

LOCALISERS: Mapping[str, Localiser] = {
    "outside_inside_ratio": outside_inside_ratios,
    "pixel_average_precision": pixel_average_precisions,
    "rank_accuracy": lambda maps, masks, valid: {"rank_accuracy": rank_accuracies(maps, masks, valid)},
}
"""What maps `(B, h, w)`, masks and valid pixels `(B, H, W)` are scored by: values `(B,)` by name."""


def score_maps(maps: Tensor, masks: Tensor, valid: Tensor | None = None, tolerance: float = 15) -> dict[str, Tensor]:
    """Score every map with every localisation metric.

    Args:
        maps: float `(B, h, w)` of any range; the positive ratio is taken at this size, the rest at the masks' size.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None; false pixels are ignored, by the positive ratio only if the sizes agree.
        tolerance: of the pointing game, in pixels of the masks.

    Returns:
        `(B,)` tensors by metric name, NaN where a metric is undefined for a map.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    values = {name: row for score in LOCALISERS.values() for name, row in score(maps, masks, valid).items()}
    return {
        "pointing_game": pointing_hits(maps, masks, tolerance, valid),
        "positive_ratio": positive_ratios(maps, valid if valid is not None and valid.shape == maps.shape else None),
        **{name: row for name, row in values.items() if not name.endswith("_mean")},
    }


def summarize(
    scores: Mapping[str, Tensor],
    classes: Tensor,
    images: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Means with bootstrap confidence intervals.

    Args:
        scores: per-map values by metric, as `score_maps` returns them.
        classes: int `(B,)`.
        images: int `(B,)`, which image each map belongs to; None if each has its own.
        level: of confidence.
        resamples: number of resampled data sets.
        seed: of the resampling.

    Returns:
        For each metric `<name>`, `<name>_low`, `<name>_high` and `<name>_maps` (maps it is defined for). The pointing
        game is the mean over classes, with its mean over maps as `pointing_game_micro`; the others are means over
        maps.
    """
    found = intervals(scores, classes, images, level, resamples, seed)
    result: dict[str, float] = {}
    for name, values in scores.items():
        result |= {name: found[name].mean, f"{name}_low": found[name].low, f"{name}_high": found[name].high}
        if f"{name}_micro" in found:
            result[f"{name}_micro"] = found[f"{name}_micro"].mean
        result[f"{name}_maps"] = float((~values.isnan()).sum())
    return result


def intervals(
    scores: Mapping[str, Tensor],
    classes: Tensor,
    images: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Means with their intervals; one over classes has its mean over maps beside it, as `<name>_micro`.

    Args: as in `summarize`.
    """
    found: dict[str, Interval] = {}
    for name, values in scores.items():
        by_class = classes if name in CLASS_MEANS else None
        found[name] = confidence_interval(values, images, by_class, level, resamples, seed)
        if by_class is not None:
            found[f"{name}_micro"] = confidence_interval(values, images, None, level, resamples, seed)
    return found


def compare_scores(
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    classes: Tensor,
    images: Tensor | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two methods scored on the same maps, metric by metric: first minus second.

    Args:
        first: per-map values by metric, as `score_maps` returns them.
        second: likewise, for the same maps in the same order.
        classes: as in `summarize`.
        images: as in `summarize`.
        level: of confidence.
        resamples: number of resampled data sets.
        seed: of the resampling.
    """
    return {
        name: compare(
            first[name], second[name], images, classes if name in CLASS_MEANS else None, level, resamples, seed
        )
        for name in first
        if name in second
    }


def evaluate_maps(
    maps: Tensor,
    masks: Tensor,
    classes: Tensor,
    valid: Tensor | None = None,
    images: Tensor | None = None,
    tolerance: float = 15,
    level: float = 0.95,
    resamples: int = 1000,
) -> dict[str, float]:
    """Score maps that fit into memory and summarise them: `summarize(score_maps(...), ...)`."""
    scores = score_maps(maps, masks, valid, tolerance)
    return summarize(scores, torch.as_tensor(classes), images, level, resamples)
