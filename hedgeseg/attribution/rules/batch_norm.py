"""Batch norm as the layer with weights that it is in evaluation mode, for rules whose denominators hold the bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hedgeseg.attribution.rules.linear import data
from hedgeseg.attribution.rules.proportional import Division
from hedgeseg.attribution.rules.structural import pass_through, single
from hedgeseg.attribution.sweep import Relevance, Rule
from hedgeseg.attribution.tape import Keeps, Op, Value

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
        (y, *_), (shift, *_) = _run(op, x), _run(op, x.new_zeros(1, x.shape[1], *(1,) * (x.ndim - 2)))
        y, shift = y.to(r.dtype), shift.to(r.dtype)
        return [(value, division(op)(r, y) * (y - shift))]

    return Rule(function, Keeps(inputs=True))


def _run(op: Op, x: Tensor) -> tuple[Any, ...]:
    return op.run(lambda argument: x if isinstance(argument, Value) else argument)


def uses_batch(op: Op) -> bool:
    """Whether a batch norm normalises by the statistics of the batch itself."""
    if op.packet in (aten._native_batch_norm_legit_no_training, aten._batch_norm_no_update):
        return False
    return bool(op.argument(5, "training", False)) or not isinstance(op.argument(3, "running_mean"), Tensor)


def folds_images(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a view has the images among the channels, (N, C, *space) as (1, N C, *space).

    It is how torch makes an instance norm of a batch norm, whose statistics are then those of each image alone.
    """
    return (
        len(before) == len(after) > 2
        and after[0] == 1
        and after[1] == before[0] * before[1]
        and tuple(before[2:]) == tuple(after[2:])
    )


def couples_images(op: Op) -> bool:
    """Whether a recorded batch norm normalises images by the statistics of others: not in an instance norm."""
    x = op.inputs[0]
    view = x.producer if x.producer is not None and x.producer.packet is aten.view else None
    return uses_batch(op) and not (view is not None and folds_images(view.inputs[0].shape, x.shape))
