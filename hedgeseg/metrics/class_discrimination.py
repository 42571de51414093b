"""Class discrimination: do the maps of two classes of one image differ?

A method that shows the same map for "cat" and "dog" explains the image, not the decision. Compared are the rankings,
which no rescaling changes, and where the strongest fifth of the pixels lies.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hedgeseg.metrics.map_metric import MapMetric, ordinary_tensors
from hedgeseg.metrics.similarity import spearman, top_overlap

__all__ = ["ClassDiscrimination", "target_pairs"]


def target_pairs(maps: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of maps of the same image.

    Args:
        maps: float `(N, T, H, W)`, one map per target; maps that are NaN throughout are not there.

    Returns:
        Two float `(P, H, W)`: the maps of the lower and of the higher target index of each pair.
    """
    there = ~maps.isnan().flatten(2).all(2)
    both = (there[:, :, None] & there[:, None, :]).triu(diagonal=1)
    image, first, second = both.nonzero(as_tuple=True)
    return maps[image, first], maps[image, second]


class ClassDiscrimination(MapMetric):
    """How much the maps of two classes of one image differ; higher is better.

    `compute()` returns `class_discrimination`, 1 minus Spearman's correlation of the two maps, averaged over pairs (0
    for equal rankings, 1 for unrelated, 2 for opposite ones), `class_discrimination_overlap`, the intersection over
    union of the strongest 20 % of the pixels, `class_discrimination_maps` and `class_discrimination_skipped` (pairs
    with a constant map).

    Args:
        num_classes: number of classes; None for a single mean over pairs.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = ClassDiscrimination()
        >>> ramp = torch.arange(16.0).view(1, 4, 4)
        >>> metric.update(ramp, -ramp)
        >>> metric.compute()["class_discrimination"]
        tensor(2.)
    """

    higher_is_better = True
    value_names: ClassVar[tuple[str, ...]] = ("class_discrimination", "class_discrimination_overlap")

    def update(self, maps: Tensor, others: Tensor, classes: Tensor | Sequence[int] | None = None) -> None:
        """Add a batch of pairs, for example `metric.update(*target_pairs(r.maps))`.

        Args:
            maps: float `(B, H, W)`, the maps of one class.
            others: float `(B, H, W)`, the maps of another class of the same images.
            classes: int `(B,)`, the class of `maps`; may be left out with `num_classes=None`.
        """
        with ordinary_tensors():
            correlation = spearman(maps, others)
            overlap = top_overlap(maps, others).masked_fill(correlation.isnan(), torch.nan)
            self.add({"class_discrimination": 1 - correlation, "class_discrimination_overlap": overlap}, classes)
