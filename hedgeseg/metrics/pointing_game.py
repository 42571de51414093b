"""The pointing game: does the strongest pixel of the map lie on the object?

Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018, with the tolerance as TorchRay's
benchmark applies it: a hit if any object pixel lies at a squared distance *strictly* below `tolerance ** 2` of the
point. Distances are in pixels of the masks, so give the masks at the image's original size to compare with published
numbers; a map of another size is resized to it bilinearly (`align_corners=False`) first, which is what the benchmark
does.

What it does not see: one pixel is scored, so the extent of a map plays no part, and a mask made of boxes plus 15 pixels
is generous to small objects. TorchRay counts a class without samples as 0; here the class mean covers the classes that
occur (`pointing_game_per_class.nan_to_num().mean()` gives TorchRay's number).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hedgeseg.metrics.map_metric import MapMetric, ordinary_tensors
from hedgeseg.metrics.pairs import Pairs, check_classes, pair_up

__all__ = ["PointingGame", "difficult_pairs", "pointing_hits"]


def pointing_hits(maps: Tensor, masks: Tensor, tolerance: float = 15, valid: Tensor | None = None) -> Tensor:
    """Score each map: 1 for a hit, 0 for a miss, NaN for an empty mask.

    Args:
        maps: float `(B, h, w)`. The point is the first maximum in row-major order among the valid pixels.
        masks: bool `(B, H, W)`. A full mask is a hit, as in the published benchmark.
        tolerance: radius in mask pixels; with 0 the point itself must lie on the object.
        valid: bool `(B, H, W)` or None; false pixels can neither be the point nor make a hit.

    Returns:
        float `(B,)`.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, a map holds NaN or infinity, or the tolerance is negative.
    """
    _validate_tolerance(tolerance)
    return _per_map(pair_up(maps, masks, valid), tolerance)


def _validate_tolerance(tolerance: float) -> None:
    if tolerance < 0:
        raise ValueError(f"tolerance must be at least 0 pixels, got {tolerance}")


def _per_map(pairs: Pairs, tolerance: float) -> Tensor:
    _, height, width = pairs.maps.shape
    # argmax does not promise which of equal values it returns, so ask for the first pixel that equals the maximum.
    scores = pairs.maps.masked_fill(~pairs.valid, -torch.inf).flatten(1)
    index = torch.arange(height * width, device=scores.device)
    point = torch.where(scores == scores.amax(1, keepdim=True), index, height * width).amin(1)
    rows = torch.arange(height, device=scores.device) - (point // width)[:, None]
    columns = torch.arange(width, device=scores.device) - (point % width)[:, None]
    near = rows.square()[:, :, None] + columns.square()[:, None, :] < max(tolerance, 1) ** 2
    hits = (near & pairs.masks).flatten(1).any(1).to(pairs.maps.dtype)
    return hits.masked_fill(~pairs.masks.flatten(1).any(1), torch.nan)


def difficult_pairs(masks: Tensor, classes: Tensor, images: Tensor) -> Tensor:
    """Which pairs make up the "difficult" subset: small objects beside another category.

    A pair is difficult if the pixels of its class cover less than a quarter of the image and the image shows another
    class too (Zhang et al. 2018, section 5.1). The flag files shipped with excitation backprop were made with boxes;
    pass box masks to come close to them.

    Args:
        masks: bool `(B, H, W)`, one per pair, *all* pairs of an image in one call.
        classes: int `(B,)`.
        images: int `(B,)`, which image each pair belongs to.

    Returns:
        bool `(B,)`.
    """
    images, classes = images.to(masks.device), classes.to(masks.device)
    small = masks.flatten(1).float().mean(1) < 0.25
    other = (images[:, None] == images) & (classes[:, None] != classes)
    return small & other.any(1)


class PointingGame(MapMetric):
    """Share of maps whose strongest pixel hits the object.

    `compute()` returns `pointing_game`, the unweighted mean over the classes that occur (over all maps if
    `num_classes` is None), `pointing_game_micro`, `pointing_game_per_class`, `pointing_game_maps` and
    `pointing_game_skipped` (empty masks). Subsets named in `update` add `pointing_game_difficult`,
    `pointing_game_predicted` and `pointing_game_difficult_predicted`, class means as well.

    Args:
        num_classes: number of classes; None for a single mean over maps.
        tolerance: radius in pixels of the given masks, 15 in the literature.
        kwargs: torchmetrics' own.

    Raises:
        ValueError: if the tolerance is negative or `num_classes` below 1.

    Example:
        >>> import torch
        >>> metric = PointingGame(num_classes=2, tolerance=0)
        >>> maps, masks = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
        >>> maps[:, 1, 1] = 1.0
        >>> masks[0, 1, 1] = masks[1, 3, 3] = True
        >>> metric.update(maps, masks, torch.tensor([0, 1]))
        >>> metric.compute()["pointing_game"]
        tensor(0.5000)
    """

    higher_is_better = True
    value_names: ClassVar[tuple[str, ...]] = (
        "pointing_game",
        "pointing_game_difficult",
        "pointing_game_predicted",
        "pointing_game_difficult_predicted",
    )

    def __init__(self, num_classes: int | None = None, tolerance: float = 15, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        _validate_tolerance(tolerance)
        self.tolerance = tolerance

    def update(
        self,
        maps: Tensor,
        masks: Tensor,
        classes: Tensor | Sequence[int] | None = None,
        valid: Tensor | None = None,
        difficult: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> None:
        """Add a batch of pairs.

        Args:
            maps: float `(B, h, w)` of any range.
            masks: bool `(B, H, W)`.
            classes: int `(B,)`; may be left out with `num_classes=None`.
            valid: bool `(B, H, W)` or None; false pixels are ignored.
            difficult: bool `(B,)` or None: pairs of the difficult subset, see `difficult_pairs`.
            predicted: bool `(B,)` or None: pairs whose class the model predicts (sigmoid at least 0.5).
        """
        with ordinary_tensors():
            pairs = pair_up(maps, masks, valid)
            check_classes(classes, len(pairs.maps), self.num_classes)
            hits = _per_map(pairs, self.tolerance)
            nowhere = torch.zeros(len(hits), dtype=torch.bool, device=hits.device)
            hard = nowhere if difficult is None else difficult.to(hits.device)
            known = nowhere if predicted is None else predicted.to(hits.device)
            subsets = (~nowhere, hard, known, hard & known)
            values = (hits.masked_fill(~subset, torch.nan) for subset in subsets)
            self.add(dict(zip(self.value_names, values, strict=True)), classes)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        result = super().compute()
        result.pop("pointing_game_class_mean", None)
        result["pointing_game_micro"] = result["pointing_game"]
        for row, name in enumerate(self.value_names):
            if row == 0 or self.count[row].sum() > 0:
                result[name] = self.class_mean(name)
            else:
                del result[name]
        return result
