"""An operation run again under autograd, and what a relevance of its outputs gives its inputs by the chain rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.rules.rule import Relevance

aten = torch.ops.aten

# No gradient passes these, and none is meant to.
STOPS = frozenset({aten.detach, aten.detach_, aten.bernoulli, aten.bernoulli_})


def differentiable(dtype: torch.dtype) -> bool:
    """Whether numbers of a dtype may have gradients."""
    return dtype.is_floating_point or dtype.is_complex


def differentiated(
    op: Op,
    relevance: Sequence[Tensor | None],
    leaves: dict[Value, Tensor],
    dtype: torch.dtype,
) -> Relevance:
    """The adjoint of the operation's Jacobian at the leaves, applied to every target's relevance.

    Args:
        op: The operation.
        relevance: Of each output, (T, ...) or None.
        leaves: What stands for the values that are differentiated by; they require gradients.
        dtype: To compute in what has half precision besides.
    """
    with torch.enable_grad():
        outputs = op.run_on(leaves, dtype)
    reached = [(y, r) for y, r in zip(outputs, relevance, strict=False) if r is not None]
    used = [(y, r) for y, r in reached if y.requires_grad]
    if not used:
        if leaves and op.packet not in STOPS and any(y.is_floating_point() or y.is_complex() for y, _ in reached):
            where = f"module {op.module!r}" if op.module else "the model's own forward"
            raise UnsupportedOpError(
                f"{op.name} in {where} makes numbers from numbers, but has no derivative that torch knows: the way "
                "back to the image ends there without a word. Write it with torch's differentiable operations"
            )
        return []
    targets = len(used[0][1])
    rows = [
        torch.autograd.grad(
            [y for y, _ in used],
            list(leaves.values()),
            [r[t].to(y.dtype) for y, r in used],
            retain_graph=t < targets - 1,
            allow_unused=True,
            materialize_grads=True,
        )
        for t in range(targets)
    ]
    return [(v, torch.stack(parts)) for v, parts in zip(leaves, zip(*rows, strict=True), strict=True)]
