"""An annotated image, and which of its classes are explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hedgeseg.evaluation.protocol import Protocol
from hedgeseg.metrics import difficult_pairs


@dataclass(frozen=True, eq=False)
class Case:
    """One image with the objects its maps should point at: one row per labelled class, T in all.

    Attributes:
        id: its name, unique in the data set.
        image: float (C, H, W), as the network takes it.
        classes: class index of each row; the rows of class means and of the seed curve.
        masks: bool (T, H, W), the object of each row, at the image's size.
        valid: bool (H, W), false where nothing is scored.
        targets: what is explained for each row: the class itself unless `select` says otherwise.
        original: bool (T, h, w), the objects at the original image's size, for the pointing game; None: `masks`.
        original_valid: bool (h, w), which pixels of `original` count; None: all.
        truth: int64 (H, W), all objects: 0 background, class + 1, 255 void; None without masks.
        boxes: float (n, 4) each, xyxy in pixels of the image, the objects of each row; () where the data has none.
        exclusive: whether an image has exactly one class.
        difficult: bool (T,), the pointing game's difficult subset.
        predicted: bool (T,), whether the network predicts the class.
        turn: costly metrics and limited methods take the images with the lowest turns, numbers from 0 that are given
            once for all, so that the choice depends neither on the number of processes nor on interruptions.
    """

    id: str
    image: Tensor
    classes: tuple[int, ...]
    masks: Tensor
    valid: Tensor
    targets: tuple[int, ...] = ()
    original: Tensor | None = None
    original_valid: Tensor | None = None
    truth: Tensor | None = None
    boxes: tuple[Tensor, ...] = ()
    exclusive: bool = False
    difficult: Tensor | None = None
    predicted: Tensor | None = None
    turn: int = 0


def select(case: Case, logits: Tensor, protocol: Protocol) -> Case | None:
    """The case with the classes that a protocol explains, and their subsets; None if there are none.

    Args:
        case: an image with all its labelled classes.
        logits: (K,), the network's answer to it.
        protocol: says which classes are explained.
    """
    logits = logits.detach().float().cpu()
    targets = case.targets or case.classes
    ranks = (logits[list(targets)][:, None] < logits).sum(1)
    if protocol.predicted_top is not None:
        predicted = ranks < protocol.predicted_top
    else:
        predicted = ranks < 1 if case.exclusive else logits[list(targets)] >= 0
    shape = case.masks if case.original is None else case.original
    hard = difficult_pairs(shape, torch.tensor(case.classes), torch.zeros(len(case.classes), dtype=torch.int64))
    kept = shape.flatten(1).float().mean(1) > protocol.smallest
    if protocol.top is not None:
        kept &= ranks < protocol.top
    if protocol.target == "predicted":
        if not case.exclusive:
            raise ValueError(
                f"image {case.id!r} has several classes: target='predicted' needs single-label data; use 'label' "
                "with top=k"
            )
        targets = (int(logits.argmax()),) * len(targets)
    rows = kept.nonzero().flatten().tolist()
    if not rows:
        return None
    return replace(
        case,
        classes=_take(case.classes, rows),
        targets=_take(targets, rows),
        masks=case.masks[rows],
        original=None if case.original is None else case.original[rows],
        boxes=tuple(case.boxes[row] for row in rows) if case.boxes else (),
        difficult=hard[rows],
        predicted=predicted[rows],
    )


def _take(values: Sequence[int], rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(values[row] for row in rows)
