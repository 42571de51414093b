"""Attention on the tape: which of two tensors that are multiplied is an attention matrix.

An attention matrix is the output of a softmax, or what was made of one by operations that keep it one: dropout, masks,
talking heads, renormalisation, sums with other attention matrices. Multiplied by the values it is a map with fixed
weights, if it is taken as a constant: relevance goes to the values, queries and keys get none (CP-LRP, Ali et al. 2022,
does so, as all propagation rules here do).
"""

from __future__ import annotations

from typing import Any

import torch

from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import MATRIX_PRODUCTS, SOFTMAXES

aten = torch.ops.aten

# Of a tensor of attention weights they make another.
_KEEPING = frozenset(
    {
        aten.view, aten._unsafe_view, aten.reshape, aten.flatten, aten.squeeze, aten.unsqueeze, aten._reshape_alias,
        aten._reshape_copy, aten.unflatten, aten.permute, aten.transpose, aten.t, aten.expand, aten.repeat, aten.slice,
        aten.select, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.stack, aten.cat,
        aten.roll, aten.flip, aten.index, aten.index_select, aten.gather, aten.constant_pad_nd, aten.as_strided,
        aten.movedim, aten.clone, aten.detach, aten.alias, aten.contiguous, aten._to_copy, aten.native_dropout,
        aten.mul, aten.mul_, aten.div, aten.div_, aten.add, aten.add_, aten.where, aten.masked_fill, aten.masked_fill_,
        aten.clamp, aten.clamp_min, aten.nan_to_num, aten.tril, aten.triu, aten.native_batch_norm,
        aten._native_batch_norm_legit_no_training, aten.convolution, aten.addmm, aten.mm, aten.im2col, aten.col2im,
    }
)  # fmt: skip
_GATES = frozenset({aten.sigmoid, aten.sigmoid_, aten.hardsigmoid, aten.gt, aten.ge, aten.lt, aten.le})

ADVICE = (
    "There are no fixed weights W in a product of two tensors that both depend on the image, unless one of them is an "
    "attention matrix, which is recognised by its softmax: a rule that divides relevance by |W| (hedging, LRP, "
    "excitation backprop, RAP, RSP, AGF) is undefined for any other. Use method='gradient', 'smooth_grad', "
    "'integrated_gradients', 'occlusion' or 'rise', which ask for nothing but logits; 'grad_cam', which does not look "
    "below its layer; or layer= a module behind the product."
)


def operands(op: Op) -> tuple[Any, Any]:
    """The two matrices of a product of `MATRIX_PRODUCTS`."""
    first = 1 if op.packet in (aten.baddbmm, aten.addmm) else 0
    return op.args[first], op.args[first + 1]


def mixes_images(op: Op) -> bool:
    """Whether an operation multiplies matrices that both depend on the images."""
    return op.packet in MATRIX_PRODUCTS and all(isinstance(a, Value) for a in operands(op))


def attention_side(op: Op) -> int | None:
    """Which operand of a product of two matrices that depend on the images is an attention matrix.

    Returns:
        0 or 1; None if neither is, or both are.
    """
    left, right = (is_attention_matrix(a) for a in operands(op))
    return None if left == right else int(right)


def is_attention_matrix(value: Value) -> bool:
    """Whether a value is an attention matrix, from what made it."""
    found = False
    todo, seen = [value], {value}
    while todo:
        op = todo.pop().producer
        if op is None:
            return False
        if op.packet in SOFTMAXES or _is_written_softmax(op):
            found = True
        elif op.packet in _GATES:
            pass  # it weighs an attention matrix; alone it is none
        elif op.packet in _KEEPING and not mixes_images(op):
            origins = op.inputs[:1] if op.name.startswith("aten.div") else op.inputs
            todo.extend(v for v in origins if v not in seen)
            seen.update(origins)
        else:
            return False
    return found


def _is_written_softmax(op: Op) -> bool:
    """Whether an operation divides an exponential by a sum of it."""
    if op.packet not in (aten.div, aten.div_) or len(op.inputs) != 2:
        return False
    numerator, denominator = (v.producer for v in op.inputs)
    return (
        numerator is not None
        and numerator.packet in (aten.exp, aten.exp_)
        and denominator is not None
        and denominator.packet is aten.sum
        and op.inputs[0] in denominator.inputs
    )
