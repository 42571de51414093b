"""Objects a map proposes: the connected components of its strong pixels, as masks, boxes and scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hedgeseg.connected_regions import connected_regions
from hedgeseg.metrics.pairs import check_maps

__all__ = ["Components", "map_components"]


@dataclass(frozen=True)
class Components:
    """Connected components of one map, strongest first.

    Attributes:
        masks: bool `(n, H, W)`.
        boxes: float32 `(n, 4)`, xyxy in pixels; the right and lower edges lie behind the last pixel.
        scores: float32 `(n,)` in (0, 1]: each component's peak relative to the map's.
    """

    masks: Tensor
    boxes: Tensor
    scores: Tensor


def map_components(saliency: Tensor, threshold: float = 0.2, min_area: int = 1, max_count: int = 100) -> Components:
    """Find the 8-connected components of the pixels above `threshold` times the map's maximum.

    Args:
        saliency: float `(H, W)`; negative relevance proposes nothing, and a map without positive values has no
            component.
        threshold: share of the maximum, in [0, 1).
        min_area: components of fewer pixels are dropped.
        max_count: only the strongest are kept; a grainy map has thousands.

    Raises:
        TypeError: if the map is no floating-point tensor.
        ValueError: if the shape is wrong, the map holds NaN or infinity, or the threshold is out of range.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}")
    if saliency.ndim != 2:
        raise ValueError(f"saliency must be one map (H, W), got {tuple(saliency.shape)}")
    positive = check_maps(saliency[None])[0].clamp(min=0)
    relative = positive / positive.max().clamp(min=torch.finfo(positive.dtype).tiny)
    found = connected_regions((relative > threshold).cpu().numpy())
    ids = torch.from_numpy(found.numbers).to(saliency.device).long()
    peaks = relative.new_zeros(len(found) + 1).scatter_reduce(0, ids.flatten(), relative.flatten(), "amax")[1:]
    large = torch.from_numpy(found.areas >= min_area).to(saliency.device)
    order = peaks.masked_fill(~large, -1.0).argsort(descending=True, stable=True)[: min(int(large.sum()), max_count)]
    return Components(
        masks=ids == order[:, None, None] + 1,
        boxes=torch.from_numpy(found.boxes).to(saliency.device)[order].float(),
        scores=peaks[order].float(),
    )
