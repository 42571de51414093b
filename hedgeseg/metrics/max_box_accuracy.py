"""MaxBoxAccV2: weakly supervised localisation by the box around a map's strong pixels.

Choe et al., "Evaluating weakly supervised object localization methods right", CVPR 2020. A map is rescaled to [0, 1]
and quantised to 8 bits; at each threshold tau the boxes around all contours of the pixels above `int(tau * 255)` are
proposals, and the image counts if the best of them overlaps a true box by an IoU of at least delta. The accuracy is
maximised over tau for each delta and averaged over delta in 0.3, 0.5, 0.7. The threshold is thus chosen on the test
data: an upper bound.

Boxes here end behind their last pixel and the IoU is exact; the published code adds 1 to sides that already include it,
which moves the IoU of small boxes slightly.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from hedgeseg.connected_regions import connected_regions
from hedgeseg.metrics.map_metric import ordinary_tensors, warn_empty
from hedgeseg.metrics.outside_inside_ratio import min_max
from hedgeseg.metrics.pairs import check_maps

__all__ = ["MaxBoxAccV2", "best_overlaps"]

DELTAS = (0.3, 0.5, 0.7)


def best_overlaps(maps: Tensor, boxes: Sequence[Tensor], thresholds: int = 100) -> Tensor:
    """Best IoU of any proposed box with any true box, for every threshold.

    Args:
        maps: float `(B, H, W)` of any range.
        boxes: per image float `(n, 4)`, xyxy in pixels of the maps; n may be 0.
        thresholds: number of thresholds, `0, 1/thresholds, ...`.

    Returns:
        float32 `(B, thresholds)` on the CPU; 0 where nothing is above the threshold (a constant map), NaN without
        true boxes.

    Raises:
        TypeError: if the maps are no floating-point tensor.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    maps = check_maps(maps)
    if len(boxes) != len(maps):
        raise ValueError(f"boxes must hold one tensor per map, {len(maps)}, got {len(boxes)}")
    unit = min_max(maps, torch.ones_like(maps, dtype=torch.bool)).nan_to_num(nan=0.0)
    levels = (unit * 255).to(torch.uint8).cpu().numpy()
    cuts = [int(index / thresholds * 255) for index in range(thresholds)]
    result = torch.full((len(maps), thresholds), torch.nan)
    for row, (image, true) in enumerate(zip(levels, boxes, strict=True)):
        if true.numel() == 0:
            continue
        if true.ndim != 2 or true.shape[1] != 4:
            raise ValueError(f"boxes[{row}] must be (n, 4) xyxy, got {tuple(true.shape)}")
        corners = true.detach().cpu().numpy().astype(np.float64)
        by_cut = {cut: _overlap(_proposals(image, cut), corners) for cut in set(cuts)}
        result[row] = torch.tensor([by_cut[cut] for cut in cuts])
    return result


def _proposals(image: np.ndarray, cut: int) -> np.ndarray:
    """Boxes around all contours, float64 `(n, 4)` xyxy: of the components, and of their holes as published.

    Equal to the bounding boxes of findContours(RETR_TREE), which takes seconds on a grainy map.
    """
    strong = image > cut
    outer = connected_regions(strong).boxes.astype(np.float64)
    # A hole is a component of the rest that does not reach the frame; its contour runs on the pixels around it.
    rest = connected_regions(~strong, neighbours=4).boxes.astype(np.float64)
    height, width = image.shape
    inside = (rest[:, :2] > 0).all(1) & (rest[:, 2] < width) & (rest[:, 3] < height)
    return np.concatenate([outer, rest[inside] + (-1, -1, 1, 1)])


def _overlap(proposals: np.ndarray, true: np.ndarray) -> float:
    return float(box_overlaps(proposals, true).max()) if len(proposals) else 0.0


def box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of every box of one list with every box of another.

    Args:
        first: float `(n, 4)`, xyxy.
        second: float `(m, 4)`.

    Returns:
        float `(n, m)`.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(1) for corners in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))


def localised(overlaps: Tensor) -> Tensor:
    """Which boxes are good enough: bool `(..., 3, thresholds)` of overlaps `(..., thresholds)`, for each criterion."""
    return torch.stack([overlaps >= delta for delta in DELTAS], -2)


class MaxBoxAccV2(Metric):
    """Localisation accuracy at the best threshold, averaged over three IoU criteria.

    `compute()` returns `max_box_acc_v2`, `max_box_acc_v2_per_delta` and `max_box_acc_v2_threshold_per_delta` `(3,)`,
    `max_box_acc_v2_curve` `(3, thresholds)` and `max_box_acc_v2_maps`. Images without true boxes are left out.

    Args:
        thresholds: number of thresholds, 100 in the published command line, 1000 in its API.
        kwargs: torchmetrics' own.

    Example:
        >>> import torch
        >>> metric = MaxBoxAccV2()
        >>> maps = torch.zeros(1, 8, 8)
        >>> maps[0, 2:6, 2:4] = 1.0
        >>> metric.update(maps, [torch.tensor([[2.0, 2.0, 6.0, 6.0]])])
        >>> metric.compute()["max_box_acc_v2_per_delta"]
        tensor([1., 1., 0.])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    hits: Tensor
    seen: Tensor

    def __init__(self, thresholds: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if thresholds < 1:
            raise ValueError(f"thresholds must be at least 1, got {thresholds}")
        self.thresholds = thresholds
        self.add_state("hits", torch.zeros(len(DELTAS), thresholds, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget everything; safe under inference mode."""
        with ordinary_tensors():
            super().reset()

    def update(self, maps: Tensor, boxes: Sequence[Tensor]) -> None:
        """Add a batch.

        Args:
            maps: float `(B, H, W)` of any range.
            boxes: per image float `(n, 4)`, xyxy in pixels of the maps.
        """
        with ordinary_tensors():
            overlaps = best_overlaps(maps, boxes, self.thresholds)
            hits = localised(overlaps).sum(0)
            self.hits = self.hits + hits.to(self.device)
            self.seen = self.seen + (~overlaps[:, 0].isnan()).sum().to(self.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the keys listed in the class's docstring as float tensors."""
        warn_empty(self, int(self.seen))
        curve = self.hits / self.seen
        best = curve.max(1)
        return {
            "max_box_acc_v2": best.values.mean(),
            "max_box_acc_v2_per_delta": best.values,
            "max_box_acc_v2_threshold_per_delta": best.indices / self.thresholds,
            "max_box_acc_v2_curve": curve,
            "max_box_acc_v2_maps": self.seen.to(curve.dtype),
        }
