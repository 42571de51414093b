"""Residual sums of tokens: attention and MLPs write into a stream that they hardly change, and are divided from it so.

In a convolutional network the branch of a residual sum does the work. In a transformer the stream carries what a token
is, and each branch adds a little. What it adds has either sign at every entry, so that a division in proportion to
signed or to positive values explodes or loses what it divides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from torch import Tensor

from hedgeseg.attribution.attention import attention_side, mixes_images
from hedgeseg.attribution.branches import find_fork
from hedgeseg.attribution.nodes import Op, Value
from hedgeseg.attribution.operations import CONVOLUTIONS, WEIGHTED
from hedgeseg.attribution.rules.rule import Relevance

Share = Callable[[Op, Tensor], Relevance]


def adds_equals(op: Op) -> bool:
    """Whether a sum is of two values of one size, as at the end of a residual block."""
    return len(op.inputs) == 2 and op.inputs[0].shape.numel() == op.inputs[1].shape.numel()


def adds_to_tokens(op: Op) -> bool:
    """Whether a sum of two equals is one of a transformer: of a stream of tokens and an attention, or an MLP, over it.

    An attention, or layers without a convolution, stand between the sum and the fork of its operands; or convolutions
    to which the tokens were laid out as maps. A block of convolutions, and a sum without weights, is none.
    """
    first, second = op.inputs
    if first is second:
        return False
    weighted = list(_weighted_between(op, find_fork(first, second).value))
    if any(mixes_images(o) and attention_side(o) is not None for o in weighted):
        return True
    convolutions = [o for o in weighted if o.packet in CONVOLUTIONS]
    maps = [o for o in convolutions if len(o.output.shape) <= len(first.shape)]
    return bool(weighted) and not maps


def by_branch(share: Share, of_tokens: Share) -> Share:
    """A division of residual sums that depends on whether they are sums of tokens."""
    decided = cache(adds_to_tokens)

    def divide(op: Op, r: Tensor) -> Relevance:
        return of_tokens(op, r) if decided(op) else share(op, r)

    return divide


def _weighted_between(op: Op, fork: Value) -> Iterator[Op]:
    """The operations with weights that lead from the fork to a sum."""
    todo, seen = list(op.inputs), set(op.inputs)
    while todo:
        value = todo.pop()
        made_by = value.producer
        if value is fork or made_by is None or value.order <= fork.order:
            continue
        if made_by.packet in WEIGHTED:
            yield made_by
        todo.extend(v for v in made_by.inputs if v not in seen)
        seen.update(made_by.inputs)
