"""Which branch of a residual sum did the work: a look back along the tape from the sum to the fork."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count

from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import (
    ACTIVATIONS,
    COPIES,
    GATES,
    MOVES,
    POINTWISE,
    PRODUCTS,
    QUOTIENTS,
    SUMS,
    VIEWS,
    is_weighted,
)


@dataclass(frozen=True)
class Fork:
    """Where two operands of a sum part.

    Attributes:
        value: The value both derive from.
        depths: For each operand, the number of operations with weights on its longest path from there.
    """

    value: Value
    depths: tuple[int, int]


def find_fork(first: Value, second: Value) -> Fork:
    """Walk back from two values, always from the later one, until a single common origin is left.

    Args:
        first: One operand.
        second: The other.

    Returns:
        The fork.
    """
    depths: dict[Value, list[int | None]] = {first: [0, None]}
    depths.setdefault(second, [None, None])[1] = 0
    tie = count()
    queue = [(-v.order, next(tie), v) for v in depths]
    heapq.heapify(queue)
    queued = set(depths)
    while len(queue) > 1:
        _, _, value = heapq.heappop(queue)
        op = value.producer
        if op is None:  # the images: the origin of everything
            return Fork(value, _longest(depths[value]))
        step = int(is_weighted(op.packet))
        for origin in op.inputs:
            reached = depths.setdefault(origin, [None, None])
            for side, depth in enumerate(depths[value]):
                if depth is not None:
                    reached[side] = max(reached[side] or 0, depth + step)
            if origin not in queued:
                queued.add(origin)
                heapq.heappush(queue, (-origin.order, next(tie), origin))
    value = queue[0][2]
    return Fork(value, _longest(depths[value]))


def _longest(depths: list[int | None]) -> tuple[int, int]:
    first, second = depths
    return first or 0, second or 0


def main_branch(op: Op) -> Value | None:
    """The operand of a sum of two values with the convolutions.

    Args:
        op: A sum whose first two arguments are values.

    Returns:
        The operand whose path from the fork passes more operations with weights, or None if they pass equally many.
    """
    first, second = op.args[0], op.args[1]
    fork = find_fork(first, second)
    if fork.depths[0] == fork.depths[1]:
        return None
    return first if fork.depths[0] > fork.depths[1] else second


def signal_of(first: Value, second: Value) -> Value | None:
    """The operand of a product that relevance follows, or None where both are equals."""
    sizes = first.shape.numel(), second.shape.numel()
    if sizes[0] != sizes[1]:
        return first if sizes[0] > sizes[1] else second
    gated = _is_gate(first), _is_gate(second)
    if gated[0] != gated[1]:
        return second if gated[0] else first
    if _is_pointwise_of(second, first):
        return first
    if _is_pointwise_of(first, second):
        return second
    return None


def _is_gate(value: Value) -> bool:
    op = value.producer
    while op is not None and (op.packet in COPIES or op.packet in VIEWS or op.packet in MOVES):
        op = op.inputs[0].producer
    return op is not None and op.packet in GATES


def _is_pointwise(op: Op) -> bool:
    return op.packet in ACTIVATIONS | POINTWISE | COPIES | SUMS | PRODUCTS | QUOTIENTS


def _is_pointwise_of(value: Value, origin: Value) -> bool:
    """Whether `value` was computed from `origin` by pointwise operations alone."""
    while value is not origin:
        op = value.producer
        if op is None or not _is_pointwise(op) or not op.inputs:
            return False
        value = max(op.inputs, key=lambda v: v.order)
    return True
