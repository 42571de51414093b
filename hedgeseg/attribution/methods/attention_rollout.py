"""Attention rollout: how attention of all layers, multiplied, reads the positions (Abnar & Zuidema 2020).

r = attribute(model, images, targets, method="attention_rollout")
"""

from __future__ import annotations

import torch

from hedgeseg.attribution.methods.from_attention import attention_pass
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem) -> Explanation:
    """``prod_l (mean_h A_l + I) / 2``: the rows that the head reads (Sec. 3).

    Args:
        problem: What is to be explained.

    Returns:
        Maps >= 0, the same for every target: how much of each position arrives, at most 1 in all on the grid. Cost: one
        forward and one backward pass, which tells what the head reads.

    Raises:
        UnsupportedOpError: If the network has no attention, or any that is not over all tokens.
        ValueError: If a layer is given.
    """
    attended = attention_pass(problem, METHOD.name, slice(0, 1))
    rows = attended.rows()
    for layer in reversed(attended.layers):
        matrix, reading = attended.all_tokens(layer.matrix.mean(1).clamp(min=0))
        matrix = matrix / matrix.sum(-1, keepdim=True).clamp(min=1e-12)  # talking heads do not sum to 1
        through = torch.einsum("tnl,nls->tns", rows, matrix)
        rows = torch.where(reading, rows / 2, rows) + through / 2
    maps = attended.maps(rows)
    return Explanation(maps.expand(problem.targets.shape[1], *maps.shape[1:]).clone(), attended.logits)


METHOD = Method(
    "attention_rollout",
    "Attention rollout (Abnar & Zuidema 2020): the product of all layers' attention, the same for every target",
    explain,
    signed=False,
    cost="1 forward and backward",
)
