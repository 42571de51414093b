"""How well the scores of seeds rank and hold the object's pixels: the two numbers of a seed table, one image at a time.

`PixelAveragePrecision` and `OutsideInsideRatio` compute these and their companions; a table of thousands of pictures
asks for no more than these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hedgeseg.metrics.outside_inside_ratio import min_max
from hedgeseg.metrics.pixel_average_precision import average_precision

NAMES = ("pixel_average_precision", "outside_inside_ratio")


class MapScores:
    """Sums over maps, float64: average precision, mean outside, mean inside."""

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._counts = torch.zeros(3, dtype=torch.int64)

    def update(self, scores: Tensor, objects: Tensor, valid: Tensor) -> None:
        """Add the maps of one image.

        Args:
            scores: float (K, H, W).
            objects: bool (K, H, W), never true where nothing is valid.
            valid: bool (H, W), false where the truth is void.
        """
        # A map that cannot be wrong says nothing: an object that fills what is valid, or none at all.
        told = objects.flatten(1).any(1) & (objects | ~valid).logical_not().flatten(1).any(1)
        scores, objects = scores[told], objects[told]
        if not len(scores):
            return
        everywhere = valid.expand_as(objects)
        scaled = min_max(scores, everywhere)
        outside = everywhere & ~objects
        precisions = average_precision(scores.flatten(1), objects.flatten(1), everywhere.flatten(1))
        values = torch.stack([precisions, *(_means(scaled, where) for where in (outside, objects))]).double()
        self._sums += values.nansum(1)  # a constant map has no range, and so no means
        self._counts += (~values.isnan()).sum(1)

    def compute(self) -> dict[str, float]:
        """`pixel_average_precision`, and `outside_inside_ratio` as a ratio of means over maps; NaN without any map.

        A ratio of means: scores that are 0 all over the object give single ratios without bound.
        """
        precision, outside, inside = (self._sums / self._counts).tolist()
        ratio = outside / inside if inside else float("nan")
        return dict(zip(NAMES, (precision, ratio), strict=True))


def _means(scaled: Tensor, where: Tensor) -> Tensor:
    return scaled.masked_fill(~where, 0.0).flatten(1).sum(1) / where.flatten(1).sum(1)
