"""Losses over multi-hot labels: each takes logits and labels (N, K) and returns their mean as a scalar."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

MultilabelLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def focal_loss(
    logits: torch.Tensor, labels: torch.Tensor, focus: float = 2.0, balance: float | None = 0.25
) -> torch.Tensor:
    """Binary cross-entropy in which well-classified labels count less: the mean of -a (1 - p)^focus log p.

    p is the probability given to the true side of a label; a is `balance` for present and 1 - `balance` for absent
    classes.

    Args:
        logits: float (N, K).
        labels: multi-hot float (N, K).
        focus: gamma of the paper, >= 0; 0 gives (balanced) binary cross-entropy.
        balance: alpha of the paper in [0, 1]; None weighs both sides equally, with 1.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017, Eq. 5.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    loss = -torch.expm1(-entropy)  # 1 - p, exact where p is close to 1
    loss = loss**focus * entropy
    if balance is not None:
        loss = loss * (balance * labels + (1 - balance) * (1 - labels))
    return loss.mean()


MULTILABEL_LOSSES: dict[str, MultilabelLoss] = {
    "bce": F.binary_cross_entropy_with_logits,
    "soft_margin": F.multilabel_soft_margin_loss,  # equals bce; under the name that weak supervision papers use
    "focal": focal_loss,
}
