"""How alike two maps are: Spearman's rank correlation, structural similarity, overlap of the strongest pixels.

All are per pair of maps, so the result does not depend on the batch.
"""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from hedgeseg.metrics.outside_inside_ratio import min_max
from hedgeseg.metrics.pairs import check_maps
from hedgeseg.metrics.perturbation import relevance_ranks

__all__ = ["average_ranks", "spearman", "ssim", "top_overlap"]

WINDOW = 11


def average_ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis of `(B, N)`, from 1; equal values share the mean of their ranks."""
    ordered, order = values.sort(dim=1)
    starts = torch.ones_like(order, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = starts.cumsum(1) - 1
    size = torch.zeros_like(order).scatter_add_(1, run, torch.ones_like(order))
    last = size.cumsum(1)
    # A run of ranks last - size + 1 ... last has the mean last - (size - 1) / 2.
    shared = (last - (size - 1) / 2).gather(1, run)
    return torch.empty_like(shared).scatter_(1, order, shared)


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of each pair of maps, ties at average rank.

    Args:
        first: float `(B, H, W)`.
        second: float `(B, H, W)`.

    Returns:
        float `(B,)` in [-1, 1]; NaN where either map is constant.

    Raises:
        TypeError: if a map is no floating-point tensor.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    first, second = _check(first, second)
    a, b = (_exact(average_ranks(maps.flatten(1))) for maps in (first, second))
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    scale = a.square().sum(1).sqrt() * b.square().sum(1).sqrt()
    return ((a * b).sum(1) / scale).clamp(-1, 1).to(first.dtype)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of each pair of maps, each rescaled to [0, 1] by its minimum and maximum.

    Wang et al. 2004: Gaussian window of sigma 1.5 and 11 x 11 pixels, averaged over the positions where it fits into
    the map (what scikit-image returns with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=1`).

    Args:
        first: float `(B, H, W)`, at least 11 x 11.
        second: float `(B, H, W)`.

    Returns:
        float `(B,)` in [-1, 1]. A constant map counts as 0 everywhere.

    Raises:
        TypeError: if a map is no floating-point tensor.
        ValueError: if shapes disagree, a map holds NaN or infinity, or the maps are smaller than the window.
    """
    first, second = _check(first, second)
    if min(first.shape[1:]) < WINDOW:
        raise ValueError(f"ssim needs maps of at least {WINDOW} x {WINDOW} pixels, got {tuple(first.shape[1:])}")
    if not len(first):
        return first.new_zeros(0)
    everywhere = torch.ones_like(first, dtype=torch.bool)
    a, b = (_exact(min_max(maps, everywhere).nan_to_num(nan=0.0))[:, None] for maps in (first, second))
    result = structural_similarity_index_measure(
        a, b, sigma=1.5, kernel_size=WINDOW, data_range=1.0, reduction="none", return_full_image=True
    )
    # torchmetrics averages over its padded border too; the index is only defined where the window fits.
    border = WINDOW // 2
    return result[1][:, 0, border:-border, border:-border].flatten(1).mean(1).to(first.dtype)


def top_overlap(first: Tensor, second: Tensor, share: float = 0.2) -> Tensor:
    """Intersection over union of the strongest `share` of the pixels of each pair of maps, float `(B,)` in [0, 1].

    Raises:
        TypeError: if a map is no floating-point tensor.
        ValueError: if shapes disagree, a map holds NaN or infinity, or `share` is out of (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    first, second = _check(first, second)
    count = max(1, int(share * first[0].numel())) if len(first) else 1
    a, b = ((relevance_ranks(maps) < count).flatten(1) for maps in (first, second))
    return (a & b).sum(1).to(first.dtype) / (a | b).sum(1)


def _check(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    first, second = check_maps(first, "the first maps"), check_maps(second, "the second maps")
    if first.shape != second.shape:
        raise ValueError(f"the two sets of maps differ in shape: {tuple(first.shape)} and {tuple(second.shape)}")
    return first, second.to(first.device)


def _exact(values: Tensor) -> Tensor:
    """Float64 on GPUs that have it, where a float32 convolution may run in TF32; elsewhere as it is."""
    return values.double() if values.is_cuda else values
