"""Batch norms that normalise by the batch itself, and instance norms, which torch makes of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hedgeseg.attribution.nodes import Op

aten = torch.ops.aten


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
