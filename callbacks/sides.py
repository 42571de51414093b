"""Networks with one logit: label 0 and label 1 are its two sides.

A label says which side is true: the indices 0 and 1, a binary float, or the only column of a multi-hot label. The mask
of a positive image may be a plain 0/1 mask.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hedgeseg.callbacks.batches import Example

NEGATIVE, POSITIVE = 0, 1


def with_sides(example: Example) -> Example:
    """An example for a network with one logit: its label the side that is true, ids of its mask and boxes likewise."""
    if example.labels is None:
        return example
    side = example.labels[0] if example.exclusive and example.labels else int(bool(example.labels))
    changed = replace(example, labels=(side,), exclusive=True)
    if side != POSITIVE:
        return changed
    mask, boxes = example.mask, example.box_labels
    if mask is not None and not bool((mask == POSITIVE + 1).any()):
        inside = (mask != 0) & (mask != example.void)
        changed = replace(changed, mask=torch.where(inside, POSITIVE + 1, mask))
    if boxes is not None and not bool((boxes == POSITIVE).any()):
        changed = replace(changed, box_labels=torch.full_like(boxes, POSITIVE))
    return changed


def side_scores(logit: Tensor) -> Tensor:
    """Probabilities of the negative and the positive side, `(2,)`, of one logit, `(1,)`."""
    positive = logit.sigmoid()
    return torch.cat([1 - positive, positive])
