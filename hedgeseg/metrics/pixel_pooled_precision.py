"""PxAP: average precision of the pixels of the whole data set in one pool.

Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020. Each map is rescaled to [0,
1], the scores of all object and all other pixels go into two histograms, and the area under the precision-recall
curve over the bins is the result, in [0, 1] here (the paper multiplies by 100). Large objects weigh more, and
contrast matters because maps share their thresholds: use PixelAveragePrecision for a per-image, rank-only answer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hedgeseg.metrics.map_metric import ordinary_tensors, warn_empty
from hedgeseg.metrics.outside_inside_ratio import min_max
from hedgeseg.metrics.pairs import pair_up

__all__ = ["PxAP", "pixel_histograms"]


def pixel_histograms(maps: Tensor, masks: Tensor, valid: Tensor | None = None, bins: int = 1000) -> Tensor:
    """Histograms of the rescaled scores off and on the object.

    Args:
        maps: float `(B, h, w)` of any range; resized bilinearly to the masks' size if that differs.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None; false pixels are left out, also of the rescaling.
        bins: number of bins of [0, 1); a score of exactly 1 has a bin of its own.

    Returns:
        int64 `(2, bins + 1)`: other pixels, object pixels. A constant map counts as 0 everywhere.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    pairs = pair_up(maps, masks, valid)
    unit = min_max(pairs.maps, pairs.valid).nan_to_num(nan=0.0)
    edges = torch.arange(1, bins + 1, device=unit.device, dtype=unit.dtype) / bins
    cells = torch.bucketize(unit, edges, right=True) + pairs.masks * (bins + 1)
    return torch.bincount(cells[pairs.valid], minlength=2 * (bins + 1)).view(2, bins + 1)


def precision_recall(histograms: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall at every threshold, from the highest to the lowest.

    Args:
        histograms: `(..., 2, bins + 1)`, as `pixel_histograms` gives them, or sums of such.

    Returns:
        Two float `(..., bins + 1)`; precision is NaN while nothing is above the threshold.
    """
    false, true = histograms.flip(-1).cumsum(-1).unbind(-2)
    return true / (true + false), true / true[..., -1:]


def pooled_precision(precision: Tensor, recall: Tensor) -> Tensor:
    """Area under the curve of `precision_recall`, `(...,)`."""
    gain = recall.diff(prepend=recall.new_zeros(*recall.shape[:-1], 1))
    return (precision.nan_to_num(nan=0.0) * gain).sum(-1)


class PxAP(Metric):
    """Average precision over the pooled pixels of a data set.

    `compute()` returns `px_ap`, and the curves `px_ap_precision` and `px_ap_recall` `(bins + 1,)` from the highest
    threshold to the lowest (precision is NaN while nothing is above the threshold).

    Args:
        bins: number of thresholds, 1000 in the paper.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = PxAP()
        >>> metric.update(torch.tensor([[[1.0, 0.5], [0.2, 0.0]]]), torch.tensor([[[True, False], [True, False]]]))
        >>> metric.compute()["px_ap"]
        tensor(0.8333)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    histograms: Tensor

    def __init__(self, bins: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        self.bins = bins
        self.add_state("histograms", torch.zeros(2, bins + 1, dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def update(
        self,
        maps: Tensor,
        masks: Tensor,
        classes: Tensor | Sequence[int] | None = None,
        valid: Tensor | None = None,
    ) -> None:
        """Add a batch of pairs.

        Args:
            maps: float `(B, h, w)` of any range.
            masks: bool `(B, H, W)`.
            classes: not used; accepted so that all localisation metrics take the same arguments.
            valid: bool `(B, H, W)` or None; false pixels are ignored.
        """
        with ordinary_tensors():
            self.histograms = self.histograms + pixel_histograms(maps, masks, valid, self.bins).to(self.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        warn_empty(self, int(self.histograms[1].sum()))
        precision, recall = precision_recall(self.histograms)
        return {
            "px_ap": pooled_precision(precision, recall),
            "px_ap_precision": precision,
            "px_ap_recall": recall,
        }
