"""The rules that all methods share: operations without weights, which move, mix or gate what flows through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.aliasing import view_write
from hedgeseg.attribution.branches import signal_of
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.nodes import Keeps, Op, Value
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    AVERAGES,
    COPIES,
    GRID_SAMPLES,
    MAXIMA,
    MOVES,
    NORMALISATIONS,
    OVERWRITES,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    VIEWS,
)
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.autograd import differentiated
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.rule import Relevance, Rule, composite

aten = torch.ops.aten

STABILISER = 1e-9


def single(relevance: Sequence[Tensor | None]) -> Tensor:
    """The relevance of the output that has any (statistics and indices never do)."""
    for r in relevance:
        if r is not None:
            return r
    raise AssertionError("a rule is called only when relevance arrived")


def pass_through(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Relevance unchanged: activations, normalisations, dropout, copies, sums and products with constants."""
    return [(op.inputs[0], single(relevance))]


def nothing(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Entries that were overwritten by a constant owe nothing to what they held before."""
    return []


def reshape(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """The view undone."""
    r, value = single(relevance), op.inputs[0]
    return [(value, r.reshape(len(r), *value.shape))]


def move(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Relevance returns to the entries that the outputs were copied from: the adjoint of the operation."""
    like = single(relevance)
    leaves = {v: like.new_zeros(v.shape, requires_grad=True) for v in op.inputs if v.dtype.is_floating_point}
    return differentiated(op, relevance, leaves, like.dtype)


def resample(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Relevance returns to the entries that were sampled; where they were sampled from is taken as a constant.

    Raises:
        UnsupportedOpError: If the places depend on the image and were not kept.
    """
    value, grid = op.args[0], op.args[1]
    if not isinstance(value, Value) or (isinstance(grid, Value) and grid.data is None):
        raise UnsupportedOpError(
            f"{op.name} in module {op.module!r} samples at places that depend on the image, which this method does not "
            "keep; choose a layer= before it, or a method that propagates to the pixels (hedge)"
        )
    like = single(relevance)
    return differentiated(op, relevance, {value: like.new_zeros(value.shape, requires_grad=True)}, like.dtype)


def concatenate(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Every part takes its share back; constants among the parts keep theirs."""
    r = single(relevance)
    parts, dim = op.args[0], int(op.argument(1, "dim", 0))
    dim = dim + 1 if dim >= 0 else dim
    pieces = r.split([p.shape[dim if dim < 0 else dim - 1] for p in parts], dim)
    return [(p, piece) for p, piece in zip(parts, pieces, strict=True) if isinstance(p, Value)]


def average(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """In proportion to the positive part: ``x' * pool^T(R / pool(x'))`` with ``x' = x+ + 1e-9``."""
    r, value = single(relevance), op.inputs[0]
    x = (data(value, r.dtype).clamp(min=0) + STABILISER).requires_grad_()
    with torch.enable_grad():
        (y,) = op.run_on({value: x}, r.dtype)
    s = safe_divide(r, y.detach())
    rows = [torch.autograd.grad(y, x, s_t.to(y.dtype), retain_graph=True)[0] for s_t in s]
    return [(value, torch.stack(rows) * x.detach())]


def winner(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """All relevance of a window to its largest entry."""
    r, value, indices = relevance[0], op.inputs[0], op.outputs[1]
    assert r is not None
    assert indices is not None
    assert indices.data is not None
    spatial = indices.data.ndim - (3 if op.name.endswith("3d_with_indices") or op.name.endswith("3d") else 2)
    flat = indices.data.flatten(spatial)
    r = r.flatten(spatial + 1)
    out = r.new_zeros(len(r), *value.shape).flatten(spatial + 1)
    out.scatter_add_(-1, flat.expand(len(r), *flat.shape), r)
    return [(value, out.view(len(r), *value.shape))]


def smooth_winner(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Of a log-sum-exp, to every entry its part in it: the softmax, which is its gradient and sums to one."""
    r, value = single(relevance), op.inputs[0]
    x, dims = data(value, r.dtype), op.argument(1, "dim")
    if not op.argument(2, "keepdim", False):
        for dim in sorted(d % x.ndim for d in dims):
            r = r.unsqueeze(dim + 1)
    return [(value, r * (x - x.logsumexp(dims, keepdim=True)).exp())]


def sum_to(r: Tensor, value: Value) -> Tensor:
    """Undo a broadcast: sum (T, *larger) to (T, *value.shape)."""
    return r.sum_to_size(len(r), *(1,) * (r.ndim - 1 - len(value.shape)), *value.shape).view(len(r), *value.shape)


def signal_of_product(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """Relevance follows the signal; a gate or a divisor is taken as a constant.

    The gate is the operand that is broadcast, or ends in a gating function (sigmoid, softmax, a comparison, ...), or
    is a pointwise function of the other operand. A product of two equal signals gives half to each.
    """
    r, values = single(relevance), op.inputs
    if len(values) == 1 or op.packet in QUOTIENTS:
        return [(values[0], sum_to(r, values[0]))]
    first, second = values
    if first is second:
        return [(first, r)]
    signal = signal_of(first, second)
    if signal is not None:
        return [(signal, sum_to(r, signal))]
    return [(first, sum_to(r / 2, first)), (second, sum_to(r / 2, second))]


def scaled_and_shifted(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
    """``addcmul`` and ``addcdiv`` of one value with constants: to that value.

    Raises:
        UnsupportedOpError: If several operands depend on the image.
    """
    if len(op.inputs) > 1:
        raise UnsupportedOpError(
            f"{op.name} in module {op.module!r} combines {len(op.inputs)} tensors that depend on the image; write it "
            "as a sum and a product, which have rules"
        )
    return [(op.inputs[0], sum_to(single(relevance), op.inputs[0]))]


def sum_rule(share: Callable[[Op, Tensor], Relevance]) -> Callable[[Op, Sequence[Tensor | None]], Relevance]:
    """A rule for sums: constants take nothing, a broadcast operand neither; `share` decides between two equals.

    Equals have equally many entries; where both are broadcast, along different dimensions, each gets its share summed.
    """

    def rule(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        r, values = single(relevance), op.inputs
        if len(values) == 1:
            return [(values[0], sum_to(r, values[0]))]
        sizes = [v.shape.numel() for v in values]
        if sizes[0] != sizes[1]:
            signal = values[0] if sizes[0] > sizes[1] else values[1]
            return [(signal, sum_to(r, signal))]
        return [(value, sum_to(part, value)) for value, part in share(op, r)]

    return rule


def influence(op: Op, r: Tensor) -> Relevance:
    """In proportion to the operands' absolute values: ``R |x_k| / sum |x_k|``."""
    first, second = (data(v, r.dtype).abs() for v in op.inputs)
    share = safe_divide(r, first + second)
    return [(op.inputs[0], share * first), (op.inputs[1], share * second)]


def structural_rules() -> dict[Any, Rule]:
    """The table of everything above; methods put their rules for weights and sums over it (`composite`)."""
    keep_inputs, keep_outputs = Keeps(inputs=True), Keeps(outputs=True)
    return composite(
        {
            ACTIVATIONS | NORMALISATIONS | POINTWISE | COPIES: Rule(pass_through),
            OVERWRITES: Rule(nothing),
            VIEWS: Rule(reshape),
            MOVES | {view_write}: Rule(move),
            AVERAGES: Rule(average, keep_inputs),
            MAXIMA: Rule(winner, keep_outputs),
            GRID_SAMPLES: Rule(resample, lambda op: Keeps(inputs=len(op.inputs) > 1)),
            PRODUCTS | QUOTIENTS: Rule(signal_of_product),
            frozenset({aten.addcmul, aten.addcmul_, aten.addcdiv, aten.addcdiv_}): Rule(scaled_and_shifted),
            frozenset({aten.logsumexp}): Rule(smooth_winner, keep_inputs),
            frozenset({aten.cat}): Rule(concatenate),
        }
    )
