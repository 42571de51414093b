"""Relevance rank accuracy: of the K strongest pixels, K the object's size, how many lie on the object?

Arras et al., "CLEVR-XAI", Information Fusion 2022. It depends on the ranking alone, so it is the companion to read
beside the outside-inside ratio, which depends on contrast. A map that says nothing scores the object's share of the
image.
"""

from typing import ClassVar

import torch
from torch import Tensor

from hedgeseg.metrics.map_metric import LocalisationMetric
from hedgeseg.metrics.pairs import Pairs, pair_up

__all__ = ["RankAccuracy", "rank_accuracies"]


def rank_accuracies(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> Tensor:
    """Share of each map's top-K pixels that lie on the object, K the number of object pixels.

    Values tied at the cut count by their expectation over random orders, so a constant map scores the object's share
    of the image instead of something that depends on where the object is.

    Args:
        maps: float `(B, h, w)` of any range; resized bilinearly to the masks' size if that differs.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None; false pixels are left out.

    Returns:
        float `(B,)` in `[0, 1]`; NaN for an empty or full mask.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    return _per_map(pair_up(maps, masks, valid))


def _per_map(pairs: Pairs) -> Tensor:
    masks = pairs.masks.flatten(1)
    scores = pairs.maps.masked_fill(~pairs.valid, -torch.inf).flatten(1)
    size = masks.sum(1, keepdim=True)
    cut = scores.sort(1, descending=True).values.gather(1, (size - 1).clamp(min=0))
    above, tied = scores > cut, scores == cut
    seats = (size - above.sum(1, keepdim=True)).to(scores.dtype)[:, 0]
    hits = (above & masks).sum(1) + seats * (tied & masks).sum(1) / tied.sum(1)
    return (hits / size[:, 0]).masked_fill(pairs.trivial, torch.nan)


def _scores(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    return {"rank_accuracy": rank_accuracies(maps, masks, valid)}


class RankAccuracy(LocalisationMetric):
    """Mean relevance rank accuracy over maps.

    `compute()` returns `rank_accuracy` (mean over maps), `rank_accuracy_maps`, `rank_accuracy_skipped` (empty and full
    masks) and, with `num_classes`, `rank_accuracy_class_mean` and `rank_accuracy_per_class`.

    Args:
        num_classes: number of classes; None for a single mean over maps.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = RankAccuracy()
        >>> mask = torch.tensor([[[True, False], [True, False]]])
        >>> metric.update(torch.tensor([[[9.0, 5.0], [-1.0, -7.0]]]), mask)
        >>> metric.compute()["rank_accuracy"]
        tensor(0.5000)
    """

    higher_is_better = True
    value_names: ClassVar[tuple[str, ...]] = ("rank_accuracy",)

    score = staticmethod(_scores)
