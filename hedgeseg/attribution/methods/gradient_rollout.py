"""Rollout of attention weighted by its gradient, which makes it class-specific (Chefer et al., ICCV 2021).

r = attribute(model, images, targets, method="gradient_rollout")
"""

from __future__ import annotations

import torch

from hedgeseg.attribution.methods.from_attention import attention_pass
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem) -> Explanation:
    """``R <- R + mean_h (dy_t/dA_l * A_l)+ R`` from first to last layer: the rows that the head reads (Eq. 5-6).

    Args:
        problem: What is to be explained.

    Returns:
        Maps >= 0 in logits, as far as attention alone decides: positive where attention to a position raises the logit.
        Cost: one forward pass and one backward pass per target.

    Raises:
        UnsupportedOpError: If the network has no attention, or any that is not over all tokens.
        ValueError: If a layer is given.
    """
    parts = []
    for part in problem.target_slices():
        attended = attention_pass(problem, METHOD.name, part)
        rows = attended.rows()
        for layer in reversed(attended.layers):
            matrix, _ = attended.all_tokens((layer.matrix * layer.gradient).clamp(min=0).mean(2))
            rows = rows + torch.einsum("tnl,tnls->tns", rows.expand(len(matrix), -1, -1), matrix)
        parts.append(attended.maps(rows))
    return Explanation(torch.cat(parts), attended.logits)


METHOD = Method(
    "gradient_rollout",
    "Gradient-weighted rollout (Chefer et al. 2021): attention times its gradient, through all layers",
    explain,
    signed=False,
    cost="1 forward, then a backward per target",
)
