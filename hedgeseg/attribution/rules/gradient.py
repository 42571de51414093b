"""The plain gradient as a rule, for any operation: the adjoint of its Jacobian at the recorded inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.aliasing import view_write
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.rules.autograd import differentiable, differentiated
from hedgeseg.attribution.rules.linear import data, linear_map
from hedgeseg.attribution.rules.proportional import adjoint
from hedgeseg.attribution.rules.rule import Relevance, RuleFunction
from hedgeseg.attribution.rules.structural import single

aten = torch.ops.aten


def gradient(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """The operation run again under autograd and differentiated, once per target."""
    r = single(relevance)
    dtype = r.dtype.to_real() if r.dtype.is_complex else r.dtype

    def leaf(v: Value) -> Tensor:
        kind = dtype.to_complex() if v.dtype.is_complex else dtype
        # A write is linear, and no call of torch's: what it reads is not kept.
        x = r.new_zeros(v.shape, dtype=kind) if op.packet is view_write else data(v, kind).detach()
        return x.requires_grad_()

    with torch.enable_grad():
        leaves = {v: leaf(v) for v in op.inputs if differentiable(v.dtype)}
    return differentiated(op, relevance, leaves, dtype)


def linear_gradient(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """The same for an operation with weights, of which nothing but the weights is needed: ``W^T r``."""
    r = single(relevance)
    value, linear = linear_map(op, r.dtype)
    return [(value, adjoint(linear, r, linear.weight.conj()))]


def beside_gradient(rule: RuleFunction) -> RuleFunction:
    """A rule for two streams: the first half of the rows is relevance, the second the gradient."""

    def both(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        halves = [(None, None) if r is None else r.chunk(2) for r in relevance]
        moved = _total(rule(op, [first for first, _ in halves]))
        slopes = _total(gradient(op, [second for _, second in halves]))
        out = []
        for value in {**moved, **slopes}:
            like = moved[value] if value in moved else slopes[value]
            zero = torch.zeros_like(like)
            out.append((value, torch.cat([moved.get(value, zero), slopes.get(value, zero)])))
        return out

    return both


def _total(passed: Relevance) -> dict[Value, Tensor]:
    total: dict[Value, Tensor] = {}
    for value, r in passed:
        total[value] = total[value] + r if value in total else r
    return total


def guided(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Guided backpropagation through a rectifier (Springenberg et al. 2015): ``g [g > 0] [x >= 0]``.

    A gradient at an input of exactly 0 passes, as in the published implementations. Of a rectifier with a ceiling, what
    lies above it has no gradient.
    """
    g, value = single(relevance), op.inputs[0]
    x = data(value, g.dtype)
    passes = x >= 0
    if op.packet in (aten.hardtanh, aten.hardtanh_):
        passes = (x >= op.argument(1, "min_val", -1.0)) & (x <= op.argument(2, "max_val", 1.0))
    elif op.packet is aten.relu6:
        passes = passes & (x <= 6)
    return [(value, g.clamp(min=0) * passes)]
