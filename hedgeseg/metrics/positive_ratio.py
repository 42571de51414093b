"""Positive ratio: how much of the image a map calls relevant.

The share of pixels with positive relevance, `|{p : R_p > 0}| / N`, averaged over maps (the PR of the paper's Table
1). Trivially small for an empty map, so read it beside a localisation metric. Interpolation turns zeros into positive
values: give the maps as the method made them, before any resizing.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hedgeseg.metrics.map_metric import MapMetric, ordinary_tensors
from hedgeseg.metrics.pairs import check_maps, pair_up

__all__ = ["PositiveRatio", "positive_ratios"]


def positive_ratios(maps: Tensor, valid: Tensor | None = None, zero_tolerance: float = 0.0) -> Tensor:
    """Share of the valid pixels whose relevance is above `zero_tolerance * max|R|`.

    Args:
        maps: float `(B, H, W)`, not resized.
        valid: bool `(B, h, w)` or None; of another size than the maps', a pixel of a map counts where at least half of
            what it covers is valid, since the maps themselves are not to be resized. A map without a valid pixel gives
            NaN.
        zero_tolerance: relative size below which a value counts as zero, in `[0, 1)`.

    Returns:
        float `(B,)` in `[0, 1]`; 0 for a map without positive values.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if there are not as many maps as valid masks, a map holds NaN or infinity, or the tolerance is out
            of range.
    """
    _validate_tolerance(zero_tolerance)
    maps = check_maps(maps)
    if valid is None:
        valid = torch.ones_like(maps, dtype=torch.bool)
    elif valid.dtype == torch.bool and valid.ndim == 3 and valid.shape[1:] != maps.shape[1:]:
        covered = interpolate(valid[:, None].to(maps.device, maps.dtype), size=tuple(maps.shape[1:]), mode="area")
        valid = covered[:, 0] >= 0.5
    pairs = pair_up(maps, valid)
    magnitude = pairs.maps.abs().masked_fill(~pairs.valid, 0.0).flatten(1).amax(1)
    positive = (pairs.maps > zero_tolerance * magnitude[:, None, None]) & pairs.masks
    return positive.flatten(1).sum(1).to(maps.dtype) / pairs.masks.flatten(1).sum(1)


def _validate_tolerance(zero_tolerance: float) -> None:
    if not 0 <= zero_tolerance < 1:
        raise ValueError(f"zero_tolerance must be in [0, 1), got {zero_tolerance}")


class PositiveRatio(MapMetric):
    """Mean share of pixels with positive relevance.

    `compute()` returns `positive_ratio` (mean over maps), `positive_ratio_maps`, `positive_ratio_skipped` and, with
    `num_classes`, `positive_ratio_class_mean` and `positive_ratio_per_class`.

    Args:
        num_classes: number of classes; None for a single mean over maps.
        zero_tolerance: values up to this share of a map's largest magnitude count as zero.
        kwargs: torchmetrics' own.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> metric = PositiveRatio()
        >>> metric.update(torch.tensor([[[-1.0, 0.0], [0.0, 2.0]]]))
        >>> metric.compute()["positive_ratio"]
        tensor(0.2500)
    """

    higher_is_better = False
    value_names: ClassVar[tuple[str, ...]] = ("positive_ratio",)

    def __init__(self, num_classes: int | None = None, zero_tolerance: float = 0.0, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        _validate_tolerance(zero_tolerance)
        self.zero_tolerance = zero_tolerance

    def update(
        self,
        maps: Tensor,
        masks: Tensor | None = None,
        classes: Tensor | Sequence[int] | None = None,
        valid: Tensor | None = None,
    ) -> None:
        """Add a batch of maps.

        Args:
            maps: float `(B, H, W)`, before any resizing.
            masks: not used; accepted so that all localisation metrics take the same arguments.
            classes: int `(B,)`; may be left out with `num_classes=None`.
            valid: bool `(B, H, W)` at the maps' size or the masks', or None.
        """
        with ordinary_tensors():
            self.add({"positive_ratio": positive_ratios(maps, valid, self.zero_tolerance)}, classes)
