"""The gradient of the target's logit with respect to the pixels (Simonyan et al. 2014).

r = attribute(model, images, targets, method="gradient", multiply_by_inputs=False)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_forward import logits_to_explain, per_target, refuse_cut_gradient, refuse_layer
from hedgeseg.attribution.methods.method import Explanation, Method, Problem

Channels = Literal["sum", "max_abs"]


def explain(problem: Problem, multiply_by_inputs: bool = False, channels: Channels = "sum") -> Explanation:
    """``dy_t/dx`` by autograd through the model itself, so with any operation.

    Args:
        problem: What is to be explained.
        multiply_by_inputs: Whether to multiply by the image: the first-order decomposition of the logit.
        channels: How the channels become one map: their signed sum, or the largest absolute value (as in the paper).

    Returns:
        Maps in logits per unit of the normalised pixel (logits with `multiply_by_inputs`); positive where more of the
        pixel raises the logit. Cost: one forward pass, one backward pass per target.

    Raises:
        ValueError: If an option has no such value, or a layer is given.
    """
    check_channels(channels)
    refuse_layer(problem, "gradient")
    with torch.enable_grad():
        leaf = problem.images.detach().clone().requires_grad_()
        logits = logits_to_explain(problem, leaf)
        if not logits.requires_grad:
            refuse_cut_gradient(problem, leaf)
        chosen = per_target(problem, logits).gather(1, problem.targets).sum(0).unbind()
        found = [torch.autograd.grad(y, leaf, retain_graph=True, allow_unused=True)[0] for y in chosen]
    rows = [row for row in found if row is not None]
    if len(rows) < len(found):
        refuse_cut_gradient(problem, leaf)
    gradients = torch.stack(rows) if rows else leaf.new_empty(0, *leaf.shape)
    gradients = gradients.to(problem.dtype)
    if multiply_by_inputs:
        gradients = gradients * problem.images.to(problem.dtype)
    return Explanation(collapse(gradients, channels), logits.detach())


def collapse(gradients: Tensor, channels: Channels) -> Tensor:
    """(T, N, C, *space) to (T, N, *space)."""
    return gradients.sum(2) if channels == "sum" else gradients.abs().amax(2)


def check_channels(channels: str) -> None:
    """Raise unless the option has a value that `collapse` knows.

    Raises:
        ValueError: Names the value and the choices.
    """
    if channels not in ("sum", "max_abs"):
        raise ValueError(f"channels={channels!r}: must be 'sum' (signed) or 'max_abs'")


METHOD = Method(
    "gradient",
    "Gradient (Simonyan et al. 2014): of the logit with respect to the pixels",
    explain,
    signed=True,
    cost="1 forward, then a backward per target",
    renamed={"times_input": "multiply_by_inputs"},
)
