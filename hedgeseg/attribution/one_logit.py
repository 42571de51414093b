"""A network with one logit as one with two: ``(-z, z)``, the sides 0 and 1 that its sign tells apart.

Rules that follow the signs of weights must meet the weights of the side they explain: for side 0 the last layer is
recorded once more, with its weights and bias negated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import AVERAGES, COPIES, PRODUCTS, QUOTIENTS, SUMS, VIEWS, is_weighted
from hedgeseg.attribution.tape import Tape

aten = torch.ops.aten

# What gives the opposite for the opposite of its input (a sum, once its constant is negated as well).
_ODD = (
    COPIES
    | VIEWS
    | AVERAGES
    | PRODUCTS
    | QUOTIENTS
    | SUMS
    | {aten.select, aten.slice, aten.permute, aten.transpose, aten.t, aten.expand}
)


def two_sides(logits: Tensor) -> Tensor:
    """Logits (N, 1) as (N, 2): minus the logit, and the logit."""
    return torch.cat([-logits, logits], 1)


def sides_by_weights(tape: Tape, logits: Tensor) -> Tensor:
    """The same on a tape that is recording, for rules that follow the signs of weights.

    Args:
        tape: The recording, active.
        logits: (N, 1), what the model returned.

    Returns:
        (N, 2). Where the last layer's input was kept, side 0 is that layer with negated weights; where the network
        goes on behind its last layer with more than sums, averages and views, it is the operation `opposite`, which
        only gradients have a rule for.
    """
    value = tape.value_of(logits)
    end = None if value is None else last_layer(value)
    if value is None or end is None:
        return torch.cat([tape.apply(opposite, logits), logits], 1)
    last, behind = end
    (x,) = last.inputs
    if x.data is None:  # no rule divides by what enters the layer: the method follows gradients
        return two_sides(logits)
    replayed: dict[Value, Tensor] = {x: tape.tensor_of(x)}
    for op in (last, *behind):
        replayed[op.output] = _negated(op).run(lambda a: replayed[a] if isinstance(a, Value) else a)[0]
    return torch.cat([replayed[value], logits], 1)


def opposite(x: Tensor) -> Tensor:
    """``-x``."""
    return -x


def _negated(op: Op) -> Op:
    """An operation that gives the opposite: with its weights and bias negated, or with what it adds."""
    if is_weighted(op.packet):
        return replace(op, args=tuple(-a if isinstance(a, Tensor) else a for a in op.args))
    if op.packet in SUMS:
        first, second, *rest = op.args
        added: list[Any] = [a if isinstance(a, Value) else -a for a in (first, second)]
        return replace(op, args=(*added, *rest))
    return op


def last_layer(value: Value) -> tuple[Op, list[Op]] | None:
    """The layer with weights that the logit comes from, and what follows it in order; None if more than that does."""
    behind: list[Op] = []
    op = value.producer
    while op is not None and len(op.inputs) == 1:
        if is_weighted(op.packet):
            return op, behind[::-1]
        if op.packet not in _ODD or op.kwargs.get("rounding_mode") is not None:
            return None
        behind.append(op)
        op = op.inputs[0].producer
    return None
