"""Losses of masks (N, H, W) under logits (N, L, H, W), made for classes that cover very different areas."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def pixel_loss(
    logits: torch.Tensor,
    masks: torch.Tensor,
    ignore: int,
    weights: torch.Tensor | None = None,
    focus: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy, or focal loss, over the pixels that count: their weighted mean, 0 where there are none.

    -w_y (1 - p_y)^focus log p_y, divided by the sum of w_y over the pixels (Lin et al. 2017, Eq. 5, with class weights
    as alpha).

    Args:
        logits: float (N, L, H, W).
        masks: int64 (N, H, W), label of each pixel or `ignore`.
        ignore: label of pixels that do not count.
        weights: float (L,), of each label; None weighs all alike.
        focus: gamma of the focal loss, >= 0; 0 is cross-entropy.
    """
    losses = F.cross_entropy(logits, masks, ignore_index=ignore, reduction="none")
    if focus:
        losses = (-torch.expm1(-losses)) ** focus * losses
    counted = masks != ignore
    weight = counted.to(losses.dtype)
    if weights is not None:
        weight = weight * weights.to(losses.dtype)[masks.where(counted, 0)]
    # a batch without a single sure pixel teaches nothing; a mean over none would be NaN
    return (losses * weight).sum() / weight.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def dice_loss(logits: torch.Tensor, masks: torch.Tensor, ignore: int) -> torch.Tensor:
    """One minus the soft Dice overlap of each label that an image shows: the mean over these, then over images.

    2 sum(p t) / (sum(p) + sum(t)) over the pixels that count (Milletari et al. 2016, without the squares).

    Args:
        logits: float (N, L, H, W).
        masks: int64 (N, H, W), label of each pixel or `ignore`.
        ignore: label of pixels that do not count.
    """
    counted = masks != ignore
    truth = F.one_hot(masks.where(counted, 0), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    shares = logits.softmax(1) * counted[:, None]
    truth = truth * counted[:, None]
    both, total = ((shares * truth).sum((2, 3)), (shares + truth).sum((2, 3)))
    shown = truth.sum((2, 3)) > 0
    overlap = torch.where(shown, 2 * both / total.clamp(min=1e-6), 0)
    seen = shown.sum(1)
    per_image = torch.where(seen > 0, 1 - overlap.sum(1) / seen.clamp(min=1), 0)
    return per_image.sum() / (seen > 0).sum().clamp(min=1)


def frequency_weights(counts: torch.Tensor, power: float = 0.5, largest: float = 10.0) -> torch.Tensor:
    """Weights of the labels that fall with their share of the pixels: (median share / share)^power.

    Source: median frequency balancing (Eigen & Fergus 2015), tempered by `power`: at 1 every label weighs the same in
    total, at 0 every pixel does. Labels that do not occur weigh 1.

    Args:
        counts: pixels of each label, (L,).
        power: how far to balance, in [0, 1].
        largest: no label weighs more than this, nor less than its inverse.

    Raises:
        ValueError: a power outside [0, 1].

    Example:
        >>> frequency_weights(torch.tensor([900, 100, 0]), power=1.0)
        tensor([0.1111, 1.0000, 1.0000])
    """
    if not 0 <= power <= 1:
        raise ValueError(f"power of the class weights must lie in [0, 1], got {power}")
    shares = counts.double()
    there = shares > 0
    if not bool(there.any()):
        return torch.ones(len(counts))
    weights = (shares[there].median() / shares).clamp(max=1e12) ** power
    return torch.where(there, weights, 1.0).clamp(1 / largest, largest).float()
