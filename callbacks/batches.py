"""Batches of any layout, read as examples: an image, what it shows, and where.

| layout                           | read as                                                                      |
|----------------------------------|------------------------------------------------------------------------------|
| dict, dataclass, named tuple     | fields by name: `image`, `label`, `mask`, `boxes`, `box_labels`, `id`, or the |
|                                  | usual synonyms of these                                                      |
| `(images, labels or masks, ...)` | by position and rank: of rank 3 it is a mask                                 |
| `images`                         | unlabelled                                                                   |
| anything else                    | through `batch_adapter`, which returns one of the above                      |

Labels may be class indices `(B,)` or `(B, 1)`, multi-hot or soft `(B, K)`, binary floats `(B,)`, or a list of index
lists. Masks hold 0 for background, class index + 1, and 255 for pixels that do not count; a batch with masks of more
classes gives another id for these as `void`, a number or one per image. A mask of nothing but void is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

VOID = 255

BatchAdapter = Callable[[Any], Any]

_NAMES = {
    "image": ("image", "images", "img", "imgs", "pixel_values", "input", "inputs", "x", "data"),
    "label": ("label", "labels", "target", "targets", "y", "class", "classes"),
    "mask": ("mask", "masks", "segmentation", "semantic_mask", "semseg"),
    "void": ("void",),
    "boxes": ("boxes", "bboxes"),
    "box_labels": ("box_labels", "bbox_labels", "box_classes"),
    "size": ("size", "original_size", "orig_size"),
    "index": ("index", "idx"),
    "id": ("id", "ids", "image_id", "image_ids", "name", "names", "filename", "path", "paths"),
}


@dataclass(frozen=True, eq=False)
class Example:
    """One image as the network takes it, with what is known about it. All tensors are ordinary ones on the CPU.

    Attributes:
        key: what it is recognised by in later epochs: its id where the batch has ids, else its place in the loader.
        image: float `(C, H, W)`.
        labels: indices of the classes it shows; None if the batch has no labels.
        exclusive: one class per image, so scores are a softmax; else a sigmoid per class.
        mask: int64 `(H, W)` or None; 0 background, class index + 1, `void`.
        boxes: float `(n, 4)` xyxy in pixels of `image`, or None.
        box_labels: int64 `(n,)` class indices, or None.
        size: height and width of the original image, or None.
        index: position in the data set, or None.
        named: whether the key is an id of the batch.
        void: id of pixels in `mask` that do not count.
    """

    key: str
    image: Tensor
    labels: tuple[int, ...] | None
    exclusive: bool
    mask: Tensor | None = None
    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    size: tuple[int, int] | None = None
    index: int | None = None
    named: bool = True
    void: int = VOID

    def region(self, class_index: int) -> Tensor | None:
        """Where the class is, bool `(H, W)`: its pixels in the mask, else its boxes; None if it is nowhere."""
        if self.mask is not None:
            inside = self.mask == class_index + 1
        elif self.boxes is not None and self.box_labels is not None:
            inside = torch.zeros(self.image.shape[-2:], dtype=torch.bool)
            for left, top, right, bottom in self.boxes[self.box_labels == class_index].tolist():
                inside[max(0, int(top)) : max(0, round(bottom)), max(0, int(left)) : max(0, round(right))] = True
        else:
            return None
        return inside if bool(inside.any()) else None

    @property
    def valid(self) -> Tensor:
        """Pixels that count, bool `(H, W)`."""
        if self.mask is None:
            return torch.ones(self.image.shape[-2:], dtype=torch.bool)
        return self.mask != self.void


def read_batch(batch: Any, place: str, adapter: BatchAdapter | None = None) -> list[Example]:
    """Read a batch of any known layout.

    Every tensor is copied to the CPU in normal mode: one born in inference mode would poison a later backward pass.

    Args:
        batch: what the dataloader gave, after its transfer.
        place: where the batch is, for the keys of images without an id.
        adapter: turns a batch of another layout into one of the known ones.

    Raises:
        ValueError: no image, or label, mask or boxes that do not fit the images; says what was found instead.
    """
    with torch.inference_mode(False), torch.no_grad():
        parts = _parts(adapter(batch) if adapter is not None else batch)
        images = parts["image"]
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"the batch's image is {_described(images)}, expected float (B, C, H, W); give batch_adapter="
            )
        images = _copy(images)
        count, size = len(images), tuple(images.shape[-2:])
        masks = None if parts["mask"] is None else _masks(parts["mask"], count, size)
        voids = _voids(parts["void"], count)
        labels, exclusive = _labels(parts["label"], masks, voids, count)
        ids = None if parts["id"] is None else [_name(i) for i in parts["id"]]
        sizes = None if parts["size"] is None else torch.as_tensor(parts["size"]).reshape(count, 2).tolist()
        indices = None if parts["index"] is None else torch.as_tensor(parts["index"]).reshape(count).tolist()
        boxes, box_labels = _listed(parts["boxes"], "boxes", count), _listed(parts["box_labels"], "box_labels", count)
        if ids is not None and len(ids) != count:
            raise ValueError(f"the batch has {count} images and {len(ids)} ids")
    return [
        Example(
            key=f"{place}:{i}" if ids is None else ids[i],
            image=images[i],
            labels=labels[i],
            exclusive=exclusive,
            mask=None if masks is None or bool((masks[i] == voids[i]).all()) else masks[i],
            boxes=boxes[i],
            box_labels=box_labels[i],
            size=None if sizes is None else (int(sizes[i][0]), int(sizes[i][1])),
            index=None if indices is None else int(indices[i]),
            named=ids is not None,
            void=voids[i],
        )
        for i in range(count)
    ]


def _parts(batch: Any) -> dict[str, Any]:
    if isinstance(batch, Tensor):
        return {**dict.fromkeys(_NAMES), "image": batch}
    named = _fields(batch)
    if named is not None:
        parts = {part: next((named[n] for n in names if n in named), None) for part, names in _NAMES.items()}
        if parts["image"] is None:
            raise ValueError(
                f"the batch has {sorted(named)}, none of which is an image; rename one to 'image' or give batch_adapter"
            )
        return parts
    if not isinstance(batch, Sequence) or isinstance(batch, str) or not batch:
        raise ValueError(
            f"cannot read a batch of type {type(batch).__name__}; give batch_adapter=, which returns a dict"
        )
    parts = {**dict.fromkeys(_NAMES), "image": batch[0]}
    for value in batch[1:3]:
        is_mask = isinstance(value, Tensor) and (value.ndim == 3 or (value.ndim == 4 and value.shape[1] == 1))
        part = "mask" if is_mask else "label"
        if parts[part] is None:
            parts[part] = value
    return parts


def _fields(batch: Any) -> Mapping[str, Any] | None:
    if isinstance(batch, Mapping):
        return batch
    if is_dataclass(batch) and not isinstance(batch, type):
        return {f.name: getattr(batch, f.name) for f in fields(batch)}
    if hasattr(batch, "_asdict"):
        return dict(batch._asdict())
    return None


def _masks(masks: Any, count: int, size: tuple[int, ...]) -> Tensor:
    if isinstance(masks, Sequence) and all(isinstance(m, Tensor) for m in masks):
        masks = torch.stack(list(masks))
    if isinstance(masks, Tensor) and masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if not isinstance(masks, Tensor) or tuple(masks.shape) != (count, *size):
        raise ValueError(
            f"the batch's mask is {_described(masks)}, expected {(count, *size)} like its images; resize it (nearest)"
        )
    return _copy(masks).long()


def _voids(void: Any, count: int) -> list[int]:
    if void is None:
        return [VOID] * count
    return [int(v) for v in torch.as_tensor(void).flatten().expand(count)]


def _labels(
    labels: Any, masks: Tensor | None, voids: Sequence[int], count: int
) -> tuple[list[tuple[int, ...] | None], bool]:
    """Class indices per image, and whether an image has exactly one."""
    if labels is None:
        if masks is None:
            return [None] * count, True
        return [
            tuple(int(v) - 1 for v in mask.unique() if v > 0 and v != void)
            for mask, void in zip(masks, voids, strict=True)
        ], False
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        if labels and all(isinstance(v, int) for v in labels):
            labels = torch.tensor(labels)
        else:
            return [_indices(v) for v in _checked(labels, count)], False
    if not isinstance(labels, Tensor) or labels.ndim not in (1, 2) or len(labels) != count:
        raise ValueError(
            f"the batch's label is {_described(labels)}, expected (B,) or (B, K) for B = {count}; give batch_adapter="
        )
    labels = _copy(labels)
    if not labels.is_floating_point() and labels.dtype != torch.bool and (labels.ndim == 1 or labels.shape[1] == 1):
        return [(int(v),) for v in labels.flatten()], True
    hot = labels.reshape(count, -1) > 0.5
    return [tuple(row.nonzero().flatten().tolist()) for row in hot], False


def _indices(values: Any) -> tuple[int, ...]:
    if isinstance(values, Tensor):
        values = values.flatten().tolist()
    return tuple(int(v) for v in values) if isinstance(values, Iterable) else (int(values),)


def _checked(values: Any, count: int) -> Sequence[Any]:
    if len(values) != count:
        raise ValueError(f"the batch has {count} images and {len(values)} labels")
    return values


def _listed(values: Any, name: str, count: int) -> list[Tensor | None]:
    if values is None:
        return [None] * count
    if len(values) != count:
        raise ValueError(f"the batch has {count} images and {len(values)} entries in {name}; give one tensor per image")
    return [_copy(torch.as_tensor(v)) for v in values]


def _copy(values: Tensor) -> Tensor:
    return values.detach().clone().cpu()


def _name(value: Any) -> str:
    return str(value.item() if isinstance(value, Tensor) and value.numel() == 1 else value)


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
