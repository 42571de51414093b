"""Where the objects of an image are: in a semantic mask, in boxes, or simply off the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hedgeseg.evaluation.case import Case
from hedgeseg.evaluation.protocol import Protocol, Regions

VOID = 255


@dataclass(frozen=True, eq=False)
class Annotations:
    """What is known about an image at one size.

    Attributes:
        size: height and width.
        mask: int64 (H, W): 0 background, class + 1, `void`; None if there is none.
        boxes: float (n, 4), xyxy in pixels; None if there are none.
        box_labels: int64 (n,), class index of each box.
        void: id of the pixels that do not count.
    """

    size: tuple[int, int]
    mask: Tensor | None = None
    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    void: int = VOID

    @property
    def valid(self) -> Tensor:
        """Pixels that count, bool (H, W)."""
        return torch.ones(self.size, dtype=torch.bool) if self.mask is None else self.mask != self.void

    def regions(self, classes: Sequence[int], kind: Regions) -> Tensor:
        """The object of each class, bool (T, H, W).

        Raises:
            ValueError: the image has no mask, or no boxes; names the other choice.
        """
        if kind == "boxes":
            if self.boxes is None or self.box_labels is None:
                raise ValueError("regions='boxes', but the data has no boxes; use 'mask' if it has masks")
            return box_masks(self.boxes, self.box_labels, classes, self.size)
        if self.mask is None:
            raise ValueError(f"regions={kind!r}, but the data has no masks; use 'boxes' if it has boxes")
        if kind == "foreground":
            return ((self.mask > 0) & (self.mask != self.void)).expand(len(classes), *self.size)
        return self.mask[None] == torch.tensor([c + 1 for c in classes]).view(-1, 1, 1)

    def boxes_of(self, classes: Sequence[int]) -> tuple[Tensor, ...]:
        """The boxes of each class, float (n, 4); () without boxes."""
        if self.boxes is None or self.box_labels is None:
            return ()
        return tuple(self.boxes[self.box_labels == c].float() for c in classes)


def make_case(
    identifier: str,
    image: Tensor,
    labels: Sequence[int],
    seen: Annotations,
    protocol: Protocol,
    original: Annotations | None = None,
    exclusive: bool = False,
    turn: int = 0,
) -> Case:
    """An image with all its labelled classes, as a protocol sees them.

    Args:
        identifier: its name.
        image: float (C, H, W), as the network takes it.
        labels: class indices.
        seen: annotations at the image's size.
        protocol: says where the objects are.
        original: annotations at the original image's size, for the pointing game; None uses `seen`.
        exclusive: whether an image has exactly one class.
        turn: see `Case`.

    Raises:
        ValueError: the annotations hold nothing of the kind that the protocol asks for.

    Where no metric of the protocol looks for objects, the annotations are not needed and everything is the object.
    """
    whole = protocol.regions == "foreground"
    if not protocol.localises:
        seen, original = replace(seen, mask=None), None
    truth = seen.mask
    if whole and truth is not None:
        truth = torch.where(truth == seen.void, VOID, (truth > 0).long())
    everywhere = torch.ones(len(labels), *seen.size, dtype=torch.bool)
    return Case(
        id=identifier,
        image=image,
        # Masks that do not tell classes apart have a single one.
        classes=(0,) * len(labels) if whole else tuple(labels),
        targets=tuple(labels),
        masks=seen.regions(labels, protocol.regions) if protocol.localises else everywhere,
        valid=seen.valid,
        original=None if original is None else original.regions(labels, protocol.regions),
        original_valid=None if original is None else original.valid,
        truth=truth,
        boxes=seen.boxes_of(labels),
        exclusive=exclusive,
        turn=turn,
    )


def box_masks(boxes: Tensor, box_labels: Tensor, classes: Sequence[int], size: tuple[int, int]) -> Tensor:
    """The union of each class's boxes, bool (T, H, W)."""
    masks = torch.zeros(len(classes), *size, dtype=torch.bool)
    for row, wanted in enumerate(classes):
        for left, top, right, bottom in boxes[box_labels == wanted].tolist():
            masks[row, max(0, int(top)) : max(0, round(bottom)), max(0, int(left)) : max(0, round(right))] = True
    return masks
