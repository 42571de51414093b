"""The rules that all methods share: operations without weights, which move, mix or gate what flows through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.aliasing import view_write
from hedgeseg.attribution.branches import is_pointwise_of
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.autograd import differentiated
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.sweep import Relevance, Rule
from hedgeseg.attribution.tape import Keeps, Op, Value

aten = torch.ops.aten

ACTIVATIONS = frozenset(
    {
        aten.relu, aten.relu_, aten.relu6, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_,
        aten.elu, aten.elu_, aten.celu, aten.celu_, aten.selu, aten.selu_, aten.gelu, aten.silu, aten.silu_,
        aten.mish, aten.mish_, aten.hardswish, aten.hardswish_, aten.hardsigmoid, aten.hardsigmoid_,
        aten.sigmoid, aten.sigmoid_, aten.tanh, aten.tanh_, aten.softplus, aten.log_sigmoid_forward,
        aten.threshold, aten.threshold_, aten._prelu_kernel, aten.rrelu_with_noise, aten.rrelu_with_noise_,
        aten.clamp, aten.clamp_, aten.clamp_min, aten.clamp_min_, aten.clamp_max, aten.clamp_max_,
        aten.softshrink, aten.hardshrink, aten.erf, aten.sin, aten.square,
    }
)  # fmt: skip

BATCH_NORMS = frozenset(
    {
        aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training,
        aten.cudnn_batch_norm, aten.miopen_batch_norm, aten._batch_norm_no_update, aten._batch_norm_with_update,
    }
)  # fmt: skip

NORMALISATIONS = BATCH_NORMS | {aten.native_layer_norm, aten.native_group_norm, aten._fused_rms_norm}

POINTWISE = frozenset(
    {
        aten.exp, aten.exp_, aten.expm1, aten.log, aten.log_, aten.log1p, aten.sqrt, aten.sqrt_, aten.abs, aten.abs_,
        aten.neg, aten.neg_, aten.pow, aten.pow_, aten.native_dropout, aten.nan_to_num, aten.nan_to_num_,
    }
)  # fmt: skip

COPIES = frozenset(
    {
        aten.clone, aten.detach, aten.detach_, aten.alias, aten.contiguous, aten._to_copy, aten.lift_fresh,
        aten.as_strided_, aten.positive, aten.view_as_real_copy,
    }
)  # fmt: skip

VIEWS = frozenset(
    {aten.view, aten._unsafe_view, aten.reshape, aten.flatten, aten.squeeze, aten.squeeze_, aten.unsqueeze,
     aten.unsqueeze_, aten._reshape_alias, aten._reshape_copy, aten.unflatten}
)  # fmt: skip

# Every output entry is an input entry, an average of some that sums to one, or a constant: the adjoint conserves.
MOVES = frozenset(
    {
        aten.permute, aten.transpose, aten.transpose_, aten.t, aten.t_, aten.expand, aten.repeat, aten.slice,
        aten.select, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.stack, aten.roll,
        aten.flip, aten.index, aten.index_select, aten.gather, aten.constant_pad_nd, aten.reflection_pad1d,
        aten.reflection_pad2d, aten.reflection_pad3d, aten.replication_pad1d, aten.replication_pad2d,
        aten.replication_pad3d, aten.pixel_shuffle, aten.pixel_unshuffle, aten.channel_shuffle,
        aten.native_channel_shuffle, aten.unfold, aten.im2col, aten.where, aten.masked_fill, aten.masked_fill_,
        aten.copy_, aten.copy, aten.as_strided, aten.movedim, aten.diagonal, aten.tril, aten.triu, aten.rot90,
        aten.slice_scatter, aten.select_scatter, aten.index_put, aten.index_put_,
        aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d, aten._upsample_nearest_exact2d,
        aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d,
        aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa,
    }
)  # fmt: skip

AVERAGES = frozenset(
    {
        aten.avg_pool1d, aten.avg_pool2d, aten.avg_pool3d, aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d,
        aten.adaptive_avg_pool1d, aten.mean, aten.sum,
    }
)  # fmt: skip

MAXIMA = frozenset(
    {aten.max_pool2d_with_indices, aten.max_pool3d_with_indices, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d}
)

OVERWRITES = frozenset({aten.fill, aten.fill_, aten.zero, aten.zero_})

SUMS = frozenset({aten.add, aten.add_, aten.sub, aten.sub_, aten.rsub})
PRODUCTS = frozenset({aten.mul, aten.mul_})
QUOTIENTS = frozenset({aten.div, aten.div_})
GATES = frozenset(
    {
        aten.sigmoid, aten.sigmoid_, aten.hardsigmoid, aten.hardsigmoid_, aten._softmax, aten.tanh, aten.tanh_,
        aten.gt, aten.ge, aten.lt, aten.le, aten.bernoulli, aten.bernoulli_,
    }
)  # fmt: skip

# What turns logits into probabilities, or their logarithms.
PROBABILITIES = frozenset(
    {aten._softmax, aten._log_softmax, aten.sigmoid, aten.sigmoid_, aten.log_sigmoid_forward, aten.hardsigmoid}
)

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
    return differentiated(op, relevance, leaves)


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
        (y,) = op.run(lambda a: x if isinstance(a, Value) else a if not isinstance(a, torch.dtype) else r.dtype)
    s = safe_divide(r, y.detach())
    rows = [torch.autograd.grad(y, x, s_t, retain_graph=True)[0] for s_t in s]
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


def signal_of(first: Value, second: Value) -> Value | None:
    """The operand of a product that relevance follows, see `signal_of_product`; None where both are equals."""
    sizes = first.shape.numel(), second.shape.numel()
    if sizes[0] != sizes[1]:
        return first if sizes[0] > sizes[1] else second
    gated = _is_gate(first), _is_gate(second)
    if gated[0] != gated[1]:
        return second if gated[0] else first
    if is_pointwise_of(second, first, _is_pointwise):
        return first
    if is_pointwise_of(first, second, _is_pointwise):
        return second
    return None


def _is_gate(value: Value) -> bool:
    op = value.producer
    while op is not None and (op.packet in COPIES or op.packet in VIEWS or op.packet in MOVES):
        op = op.inputs[0].producer
    return op is not None and op.packet in GATES


def _is_pointwise(op: Op) -> bool:
    return op.packet in ACTIVATIONS | POINTWISE | COPIES | SUMS | PRODUCTS | QUOTIENTS


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
    """The table of everything above; methods add their rules for weights and sums to a copy of it."""
    keep_inputs, keep_outputs = Keeps(inputs=True), Keeps(outputs=True)
    table: dict[Any, Rule] = {}
    for packets, rule in (
        (ACTIVATIONS | NORMALISATIONS | POINTWISE | COPIES, Rule(pass_through)),
        (OVERWRITES, Rule(nothing)),
        (VIEWS, Rule(reshape)),
        (MOVES, Rule(move)),
        (AVERAGES, Rule(average, keep_inputs)),
        (MAXIMA, Rule(winner, keep_outputs)),
        (PRODUCTS | QUOTIENTS, Rule(signal_of_product)),
        ({aten.addcmul, aten.addcmul_, aten.addcdiv, aten.addcdiv_}, Rule(scaled_and_shifted)),
    ):
        table.update(dict.fromkeys(packets, rule))
    table[aten.logsumexp] = Rule(smooth_winner, keep_inputs)
    table[aten.cat] = Rule(concatenate)
    table[view_write] = Rule(move)
    return table
