"""Pixel average precision: does the map rank the object's pixels above the rest?

Two numbers go by this name.

- `pixel_average_precision`: average precision of the foreground alone, per map, then averaged. Exact (every value is
  its own threshold) and a function of the ranking only: any increasing transformation of the map leaves it unchanged.
  A map that says nothing scores the object's share of the image.
- `pixel_average_precision_two_channel`: the protocol common in the literature on ImageNet-Segmentation (AGF,
  Transformer attribution): the map is rescaled to [0, 1], `[1 - map, map]` is ranked against `[1 - mask, mask]` in
  one pool. It depends on the map's contrast; a constant map scores 0.5.

Table 3 of the paper holds values below 0.5 for maps that do not localise, which only the first definition can
produce, so the first is the headline. Ties are handled as scikit-learn does: equal values share one threshold.
torchmetrics' BinaryAveragePrecision would send maps outside [0, 1] through a sigmoid, and binned thresholds break
rank invariance; neither happens here.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hedgeseg.metrics.map_metric import LocalisationMetric
from hedgeseg.metrics.outside_inside_ratio import min_max
from hedgeseg.metrics.pairs import Pairs, pair_up

__all__ = ["PixelAveragePrecision", "average_precision", "pixel_average_precisions"]


def average_precision(scores: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Average precision of each row, `sum_n (R_n - R_{n-1}) P_n` over its distinct scores.

    Args:
        scores: float `(B, N)`, finite.
        targets: bool `(B, N)`, true only where `valid`.
        valid: bool `(B, N)`; false entries are left out.

    Returns:
        float `(B,)`; NaN for a row without a target.
    """
    rows = [_average_precision(*row) for row in zip(scores, targets, valid, strict=True)]
    return torch.stack(rows) if rows else scores.new_zeros(0)


def _average_precision(scores: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """The mean, over the targets, of the share of targets among the entries that score at least as much."""
    everything, hits = sort(scores[valid]), sort(scores[targets])
    # Entries below a value stand before it; equal values share one threshold.
    among_hits, among_all = (len(part) - torch.searchsorted(part, hits) for part in (hits, everything))
    return (among_hits / among_all.to(torch.float64)).mean().to(scores.dtype)


def sort(values: Tensor) -> Tensor:
    """Values (N,) in ascending order; on the CPU by NumPy, which is many times as fast where the order is not asked."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.detach().numpy()))
    return values.sort().values


def pixel_average_precisions(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    """Both average precisions of every map.

    Args:
        maps: float `(B, h, w)` of any range; resized bilinearly to the masks' size if that differs.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None; false pixels are left out.

    Returns:
        `(B,)` tensors in `[0, 1]` by name, `pixel_average_precision` and `pixel_average_precision_two_channel`; NaN
        for an empty or full mask.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    return _per_map(pair_up(maps, masks, valid))


def _per_map(pairs: Pairs) -> dict[str, Tensor]:
    scores, masks, valid = pairs.maps.flatten(1), pairs.masks.flatten(1), pairs.valid.flatten(1)
    foreground = average_precision(scores, masks, valid)
    scaled = min_max(pairs.maps, pairs.valid).flatten(1)
    # A constant map has no [0, 1] rescaling; the literature's code sets both channels to 0, which ties everything.
    both = torch.cat([1 - scaled, scaled], 1).nan_to_num(nan=0.0)
    pooled = average_precision(both, torch.cat([valid & ~masks, masks], 1), torch.cat([valid, valid], 1))
    return {
        "pixel_average_precision": foreground.masked_fill(pairs.trivial, torch.nan),
        "pixel_average_precision_two_channel": pooled.masked_fill(pairs.trivial, torch.nan),
    }


class PixelAveragePrecision(LocalisationMetric):
    """Mean over maps of the pixel average precision.

    `compute()` returns `pixel_average_precision` (foreground, mean over maps), `pixel_average_precision_two_channel`,
    `pixel_average_precision_maps`, `pixel_average_precision_skipped` (empty and full masks) and, with `num_classes`,
    `pixel_average_precision_class_mean` and `pixel_average_precision_per_class`.

    Args:
        num_classes: number of classes; None for a single mean over maps.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = PixelAveragePrecision()
        >>> mask = torch.tensor([[[True, False], [True, False]]])
        >>> metric.update(torch.tensor([[[9.0, 5.0], [-1.0, -7.0]]]), mask)
        >>> metric.compute()["pixel_average_precision"]
        tensor(0.8333)
    """

    higher_is_better = True
    value_names: ClassVar[tuple[str, ...]] = ("pixel_average_precision", "pixel_average_precision_two_channel")

    score = staticmethod(pixel_average_precisions)
