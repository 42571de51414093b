"""The table of a method whose rule for weights takes a layer, its input and the relevance of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import WEIGHTED, Convolution, Dense, data, linear_map, product_keeps
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.residual import Share, by_branch
from hedgeseg.attribution.rules.structural import SUMS, influence, single, structural_rules, sum_rule
from hedgeseg.attribution.sweep import Relevance, Rule
from hedgeseg.attribution.tape import Keeps, Op

# From the operation, its linear map, its input (N, ...) and the relevance of its output (T, N, ...) to (T, N, ...).
LayerRule = Callable[[Op, Convolution | Dense, Tensor, Tensor], Tensor]


def on_layer(hidden: LayerRule, first: LayerRule | None = None) -> Rule:
    """A rule for operations with weights.

    Args:
        hidden: The rule of every layer,
        first: except for the one that reads the image, if this is given.
    """

    def function(op: Op, relevance: Sequence[Tensor | None]) -> Relevance:
        r = single(relevance)
        value, linear = linear_map(op, r.dtype)
        rule = first if first is not None and value.pixels else hidden
        return [(value, rule(op, linear, data(value, r.dtype), r))]

    return Rule(function, product_keeps)


def layered_rules(
    hidden: LayerRule, first: LayerRule | None, share: Share, of_tokens: Share = influence
) -> dict[Any, Rule]:
    """The structural rules, with these for weights and for sums of two equals.

    Args:
        hidden: See `on_layer`.
        first: See `on_layer`.
        share: How sums of two equals are divided,
        of_tokens: and those of a transformer's stream and its branches (see `rules.residual`).
    """
    table = structural_rules()
    table.update(dict.fromkeys(WEIGHTED, on_layer(hidden, first)))
    table.update(dict.fromkeys(SUMS, Rule(sum_rule(by_branch(share, of_tokens)), Keeps(inputs=True))))
    return table


def signed_proportion(op: Op, r: Tensor, divide: Division = safe_divide) -> Relevance:
    """``R_k = x_k R / (x_1 + x_2)``: conserves, but explodes where the operands nearly cancel."""
    return _shared(op, r, [data(v, r.dtype) for v in op.inputs], divide)


def positive_proportion(op: Op, r: Tensor, offset: float = 0.0) -> Relevance:
    """``R_k = x_k' R / (x_1' + x_2')`` with ``x' = x+ + offset``."""
    return _shared(op, r, [data(v, r.dtype).clamp(min=0) + offset for v in op.inputs])


def _shared(op: Op, r: Tensor, parts: list[Tensor], divide: Division = safe_divide) -> Relevance:
    first, second = parts
    if op.name.startswith("aten.sub"):
        second = -second
    s = divide(r, first + second)
    return [(op.inputs[0], first * s), (op.inputs[1], second * s)]
