"""Layer norm as the linear map that it is with its standard deviation held constant (Ali et al. 2022, the LN-rule).

    y = w (x - mean(x)) / std + b,    R_in = x * (c - mean(c))   with   c = w / std * R / y

The sum of what leaves is that of ``R (y - b) / y``: the shift keeps its share, as a layer's bias does. Relevance that
passed unchanged would grow without bound where an input is small beside the mean or the shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.nodes import Keeps, Op
from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.rule import Relevance, Rule
from hedgeseg.attribution.rules.structural import single

aten = torch.ops.aten


def linear_layer_norm(division: Callable[[Op], Division]) -> Rule:
    """The rule, for layer and group norms.

    Args:
        division: The division by y, for an operation.
    """

    def function(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        value, r = op.inputs[0], single(relevance)
        x = data(value, r.dtype)
        y = op.run_on({value: x}, r.dtype)[0]
        groups, scale = _groups(op, x)
        deviation = (groups.var(-1, correction=0, keepdim=True) + op.args[-1]).sqrt()
        c = (division(op)(r, y) * scale).view(len(r), *groups.shape) / deviation
        return [(value, (groups * (c - c.mean(-1, keepdim=True))).view(r.shape))]

    return Rule(function, Keeps(inputs=True))


def _groups(op: Op, x: Tensor) -> tuple[Tensor, Tensor | float]:
    """The input as rows that are normalised each, and the weight, broadcastable to the input."""
    if op.packet is aten.native_layer_norm:
        shape, weight = op.args[1], op.args[2]
        rows = x.reshape(-1, math.prod(shape))
        return rows, 1.0 if weight is None else weight.detach().to(x.dtype)
    weight, groups = op.args[1], op.args[6]
    rows = x.reshape(len(x) * groups, -1)
    return rows, 1.0 if weight is None else weight.detach().to(x.dtype).view(-1, *(1,) * (x.ndim - 2))
