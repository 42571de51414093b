"""The table of a method whose rule for weights takes a layer, its input and the relevance of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from hedgeseg.attribution.nodes import Keeps, Op
from hedgeseg.attribution.operations import SUMS, WEIGHTED
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense, data, linear_map, product_keeps
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.residual import Share, by_branch
from hedgeseg.attribution.rules.rule import Relevance, Rule, composite
from hedgeseg.attribution.rules.structural import influence, single, structural_rules, sum_rule
from hedgeseg.attribution.rules.zbeta import z_beta

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


def plain(rule: Callable[..., Tensor]) -> LayerRule:
    """A rule ``(linear, x, r)``, which treats every row for itself."""
    return lambda op, linear, x, r: rule(linear, x, r)


def by_image(rule: Callable[..., Tensor]) -> LayerRule:
    """A rule ``(linear, x, r, *, samples)``, which sums over images."""
    return lambda op, linear, x, r: rule(linear, x, r, samples=op.samples)


Z_BOX: LayerRule = by_image(z_beta)
"""The z^B rule, for the layer that reads the image."""


def on_sum(share: Share, of_tokens: Share = influence) -> Rule:
    """A rule for sums of two equals.

    Args:
        share: How they are divided,
        of_tokens: and those of a transformer's stream and its branches (see `rules.residual`).
    """
    return Rule(sum_rule(by_branch(share, of_tokens)), Keeps(inputs=True))


def layered_rules(
    hidden: LayerRule, first: LayerRule | None, share: Share, of_tokens: Share = influence
) -> dict[Any, Rule]:
    """The structural rules, with these for weights and for sums of two equals.

    Args:
        hidden: See `on_layer`.
        first: See `on_layer`.
        share: See `on_sum`.
        of_tokens: See `on_sum`.
    """
    return composite({WEIGHTED: on_layer(hidden, first), SUMS: on_sum(share, of_tokens)}, over=structural_rules())


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
