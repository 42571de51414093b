"""Softmax-gradient LRP: the class's relevance minus that of its rivals by probability (Iwana et al. 2019).

r = attribute(model, images, targets, method="softmax_gradient_lrp")
"""

from __future__ import annotations

from torch import Tensor

from hedgeseg.attribution.methods.contrastive_lrp import balance, passes
from hedgeseg.attribution.methods.method import Explanation, Method, Problem
from hedgeseg.attribution.rules.attention import Attention


def explain(problem: Problem, attention: Attention = "cplrp") -> Explanation:
    """As ``contrastive_lrp``, started at the gradient of the target's softmax probability p.

    The target starts at ``p_t (1 - p_t) + 1e-8``, the others in proportion to their probabilities ``p_k``.

    Args:
        problem: What is to be explained.
        attention: See ``lrp_epsilon``.

    Returns:
        Signed maps of sum 0, whose scale is ``p_t (1 - p_t)``: tiny for a class that is certain or out of the question,
        and known to as few digits as ``contrastive_lrp``. Cost: as ``contrastive_lrp``.
    """
    target, others, recording = passes(problem, "softmax_gradient_lrp", starts, attention)
    return Explanation(balance(target, others), recording.logits)


def starts(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Where both passes begin.

    Args:
        logits: (N, K).
        target: One-hot (T, N, K).

    Returns:
        The target's start, and the others'. The others' is ``p_k / (1 - p_t)``, of sum 1, instead of ``p_t p_k``: the
        difference is scaled to sum 0 afterwards, and this does not vanish where the softmax saturates.
    """
    p = logits.softmax(-1)
    p_target = (p * target).sum(-1, keepdim=True)
    rivals = logits.masked_fill(target.bool(), -float("inf")).softmax(-1).nan_to_num(0)
    # 1 - p_t as the sum of the others keeps the digits that the subtraction would lose.
    remaining = (p * (1 - target)).sum(-1, keepdim=True)
    return target * (p_target * remaining + 1e-8), rivals


METHOD = Method(
    "softmax_gradient_lrp",
    "Softmax-gradient LRP (Iwana et al. 2019): the class's relevance minus its rivals' by probability",
    explain,
    signed=True,
    cost="1 forward, then 4 convolutions a layer per target",
)
