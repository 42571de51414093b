"""Batch norm as the layer with weights that it is in evaluation mode, for rules whose denominators hold the bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.batch_statistics import uses_batch
from hedgeseg.attribution.nodes import Keeps, Op
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.rule import Relevance, Rule
from hedgeseg.attribution.rules.structural import pass_through, single

aten = torch.ops.aten


def affine_batch_norm(division: Callable[[Op], Division]) -> Rule:
    """``R (y - d) / y`` for ``y = a x + d``: what the shift d contributed is lost, as it is of a layer's bias.

    A convolution and its batch norm then pass what the one convolution does that they could be merged to. Where the
    statistics are those of the batch itself, relevance passes unchanged.

    Args:
        division: For an operation, the division by y.
    """

    def function(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        value, r = op.inputs[0], single(relevance)
        if value.data is None or uses_batch(op):
            return pass_through(op, relevance)
        x = data(value, value.data.dtype)
        zero = x.new_zeros(1, x.shape[1], *(1,) * (x.ndim - 2))
        y, shift = (op.run_on({value: at}, x.dtype)[0] for at in (x, zero))
        y, shift = y.to(r.dtype), shift.to(r.dtype)
        return [(value, division(op)(r, y) * (y - shift))]

    return Rule(function, Keeps(inputs=True))
