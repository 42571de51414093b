"""Seed quality at every background threshold, in one pass over the data.

A seed labels a pixel with its strongest class if that score is above the background threshold, and background
otherwise: raising the threshold only turns foreground pixels into background. One histogram [true class, strongest
class, number of thresholds below the score] therefore holds the confusion matrix of every threshold, and it sums over
images and processes.

The mean IoU is PASCAL VOC's: from counts pooled over the data set, over the classes that occur, as torchmetrics'
MulticlassJaccardIndex(ignore_index=255) and not as segmentation.MeanIoU, which averages over images.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hedgeseg.metrics.map_metric import ordinary_tensors

__all__ = ["SeedCurve", "seed_curves", "seed_histogram"]

IGNORE = 255
PLATEAU = 0.01


def seed_histogram(scores: Tensor, classes: Tensor, masks: Tensor, num_classes: int, bins: int) -> Tensor:
    """Count pixels by true class, strongest class and number of thresholds below the strongest score.

    Args:
        scores: float `(B, K, H, W)`, the seed's score of K classes; NaN marks a row that is not there.
        classes: int `(B, K)`, the class index of each row; -1 marks a row that is not there.
        masks: int `(B, H, W)`: 0 background, class + 1, 255 ignored.
        num_classes: number of foreground classes.
        bins: the thresholds are `0, 1/bins, ..., (bins - 1)/bins`.

    Returns:
        int64 `(num_classes + 1, num_classes, bins + 1)`. A pixel in the last axis's entry i is foreground at the
        thresholds 0 to i - 1, the ones its score is strictly above. Equal scores go to the first row.
    """
    if scores.shape[1] == 0:
        scores = scores.new_full((len(scores), 1, *scores.shape[2:]), torch.nan)
        classes = classes.new_full((len(classes), 1), -1)
    absent = (classes < 0)[:, :, None, None] | scores.isnan()
    strongest, row = scores.masked_fill(absent, -torch.inf).max(1)
    predicted = classes.clamp(min=0).gather(1, row.flatten(1)).view_as(row)
    thresholds = torch.arange(bins, device=scores.device, dtype=scores.dtype) / bins
    passed = torch.bucketize(strongest.contiguous(), thresholds)
    cells = (masks.long() * num_classes + predicted) * (bins + 1) + passed
    size = (num_classes + 1) * num_classes * (bins + 1)
    return torch.bincount(cells[masks != IGNORE], minlength=size).view(num_classes + 1, num_classes, bins + 1)


def _validate(scores: Tensor, classes: Tensor, masks: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three as a batch on the scores' device."""
    if not scores.is_floating_point():
        raise TypeError(f"scores must be a floating-point tensor, got {scores.dtype}")
    if masks.is_floating_point() or masks.dtype == torch.bool:
        raise TypeError(f"masks must hold integer ids (0 background, class + 1, 255 ignored), got {masks.dtype}")
    if classes.is_floating_point() and classes.numel():
        raise TypeError(f"classes must be integers, got {classes.dtype}")
    if scores.ndim == 3:
        scores, classes, masks = scores[None], classes[None], masks[None]
    if scores.ndim != 4 or masks.shape != (scores.shape[0], *scores.shape[2:]) or classes.shape != scores.shape[:2]:
        raise ValueError(
            "scores (B, K, H, W), classes (B, K) and masks (B, H, W) do not fit together: "
            f"{tuple(scores.shape)}, {tuple(classes.shape)}, {tuple(masks.shape)}"
        )
    scores = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
    masks, classes = masks.to(scores.device), classes.to(scores.device).long()
    low, high = scores.nan_to_num(nan=0.0).aminmax() if scores.numel() else (scores.sum(), scores.sum())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"scores must be in [0, 1], got [{float(low):.4g}, {float(high):.4g}]; "
            "clip negatives and divide each map by its maximum first"
        )
    ragged = scores.isnan().flatten(2)
    broken = ragged.any(2) & ~ragged.all(2)
    if broken.any():
        image, row = broken.nonzero()[0].tolist()
        raise ValueError(
            f"scores[{image}, {row}] hold NaN at {int(ragged[image, row].sum())} pixels; only a row that is NaN "
            "throughout is taken for one that is not there"
        )
    if classes.numel() and not -1 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise ValueError(f"classes must be in 0..{num_classes - 1}, or -1 for none, got {classes.unique().tolist()}")
    unknown = (masks != IGNORE) & ((masks < 0) | (masks > num_classes))
    if unknown.any():
        raise ValueError(
            f"masks hold the id {int(masks[unknown][0])}; "
            f"with num_classes={num_classes} ids are 0..{num_classes} and {IGNORE}"
        )
    return scores, classes, masks


def _confusions(histogram: Tensor) -> Tensor:
    """int64 `(T, C + 1, C + 1)`: [threshold, true, predicted]."""
    # Foreground at threshold t are the entries i > t of the last axis, background the rest.
    foreground = histogram.flip(2).cumsum(2).flip(2)[:, :, 1:]
    background = histogram.sum((1, 2))[:, None] - foreground.sum(1)
    return torch.cat([background[:, None], foreground], 1).permute(2, 0, 1)


def seed_curves(histogram: Tensor) -> dict[str, Tensor]:
    """Everything `SeedCurve.compute` returns, from a sum of `seed_histogram`."""
    confusion = _confusions(histogram)
    hit = confusion.diagonal(dim1=1, dim2=2)
    true, predicted = confusion.sum(2), confusion.sum(1)
    union = true + predicted - hit
    iou = hit / union
    precision, recall = (hit / predicted)[:, 1:], (hit / true)[:, 1:]
    thresholds = torch.arange(len(confusion), device=confusion.device, dtype=iou.dtype) / len(confusion)
    miou = iou.nanmean(1)
    # NaN would be taken for the maximum; without any pixel the first threshold stands for the rest.
    ranking = miou.nan_to_num(nan=-1.0)
    best = int((ranking == ranking.max()).nonzero()[0])
    away = (ranking < ranking[best] - PLATEAU).nonzero()[:, 0]
    first = int(away[away < best].max()) + 1 if bool((away < best).any()) else 0
    last = int(away[away > best].min()) - 1 if bool((away > best).any()) else len(confusion) - 1
    return {
        "thresholds": thresholds,
        "miou": miou,
        "foreground_miou": iou[:, 1:].nanmean(1),
        "background_iou": iou[:, 0],
        "precision": precision.nanmean(1),
        "recall": recall.nanmean(1),
        "coverage": predicted[:, 1:].sum(1) / predicted.sum(1),
        "over_activation": ((predicted - hit) / union)[:, 1:].nanmean(1),
        "under_activation": ((true - hit) / union)[:, 1:].nanmean(1),
        "miou_best": miou[best],
        "threshold_best": thresholds[best],
        "plateau": (last - first + 1) / len(confusion) * torch.ones_like(miou[best]),
        "iou_per_class": iou[best],
        "precision_per_class": precision[best],
        "recall_per_class": recall[best],
    }


class SeedCurve(Metric):
    """Mean IoU, precision, recall and coverage of seeds at every background threshold.

    `compute()` returns, with T thresholds and C = num_classes:

    - `thresholds`, `miou`, `foreground_miou`, `background_iou`, `precision`, `recall`, `coverage`, `over_activation`,
      `under_activation`: `(T,)`. Means over classes leave out classes that are neither there nor predicted (IoU), not
      predicted (precision) or not there (recall); a threshold without any such class is NaN. Precision and recall are
      of the foreground classes. `coverage` is the share of valid pixels that are foreground in the seed. Over- and
      under-activation are false positives and false negatives over the union, means over foreground classes.
    - `miou_best`, `threshold_best`, `plateau`: the peak, where it is (the lowest such threshold), and the width of the
      thresholds around it that stay within one point of it: a wide plateau forgives a badly chosen threshold.
    - `iou_per_class` `(C + 1,)`, background first, `precision_per_class` and `recall_per_class` `(C,)`: at
      `threshold_best`, NaN for absent classes.

    Args:
        num_classes: number of foreground classes.
        bins: number of thresholds.
        kwargs: torchmetrics' own.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> metric = SeedCurve(num_classes=1, bins=4)
        >>> metric.update(torch.tensor([[[0.9, 0.3]]]), torch.tensor([0]), torch.tensor([[1, 0]]))
        >>> curve = metric.compute()
        >>> curve["miou"]
        tensor([0.2500, 0.2500, 1.0000, 1.0000])
        >>> curve["threshold_best"]
        tensor(0.5000)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    histogram: Tensor

    def __init__(self, num_classes: int, bins: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 1 <= num_classes < IGNORE:
            raise ValueError(f"num_classes must be in 1..{IGNORE - 1}, got {num_classes}")
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        self.num_classes, self.bins = num_classes, bins
        shape = (num_classes + 1, num_classes, bins + 1)
        self.add_state("histogram", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def update(self, scores: Tensor, classes: Tensor | Sequence[int], masks: Tensor) -> None:
        """Add one seed or a batch of seeds.

        Args:
            scores: float `(K, H, W)` or `(B, K, H, W)` in `[0, 1]`: the scores of the K classes of the image. NaN rows
                are left out. K may be 0: everything is background.
            classes: int `(K,)`, or `(B, K)` with -1 for rows that are not there.
            masks: int `(H, W)` or `(B, H, W)`: 0 background, class + 1, 255 ignored.

        Raises:
            TypeError: if a dtype is wrong.
            ValueError: if shapes disagree, a class or mask value is out of range, or a row is NaN in part.
        """
        with ordinary_tensors():
            checked = _validate(scores, torch.as_tensor(classes), masks, self.num_classes)
            self.histogram = self.histogram + seed_histogram(*checked, self.num_classes, self.bins).to(self.device)

    def confusion(self, threshold: float) -> Tensor:
        """Confusion matrix `(C + 1, C + 1)` [true, predicted] at the threshold of the grid nearest to `threshold`."""
        return _confusions(self.histogram)[self._nearest(threshold)]

    def miou_at(self, threshold: float) -> Tensor:
        """Mean IoU at the threshold of the grid nearest to `threshold`, at most half a bin away."""
        return self.compute()["miou"][self._nearest(threshold)]

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        if self.histogram.sum() == 0:
            warnings.warn("SeedCurve has counted no pixel; the result is NaN", UserWarning, stacklevel=2)
        return seed_curves(self.histogram)

    def _nearest(self, threshold: float) -> int:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        return min(round(threshold * self.bins), self.bins - 1)
