"""Batches of any layout, read as examples: an image, what it shows, and where.

| layout                           | read as                                                                      |
|----------------------------------|------------------------------------------------------------------------------|
| dict, dataclass, named tuple     | fields by name: `image`, `label`, `mask`, `boxes`, `box_labels`, `id`, or the |
|                                  | usual synonyms of these                                                      |
| `(images, labels or masks, ...)` | by position and rank: of rank 3 or 4 it is a mask                            |
| `images`                         | unlabelled                                                                   |
| anything else                    | through `batch_adapter`, which returns one of the above                      |

Labels may be class indices `(B,)` or `(B, 1)`, multi-hot or soft `(B, K)`, binary floats `(B,)`, or a list of index
lists. Masks hold 0 for background, class index + 1, and 255 for pixels that do not count; a batch with masks of more
classes gives another id for these as `void`, a number or one per image. A mask of nothing but void is none. Their
layouts are those of `mask_layouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hedgeseg.callbacks.mask_layouts import MaskError, looks_like_masks, read_mask
from hedgeseg.evaluation.annotations import box_masks

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
    "content_size": ("content_size",),
    "index": ("index", "idx"),
    "id": ("id", "ids", "image_id", "image_ids", "name", "names", "filename", "path", "paths"),
}


@dataclass(frozen=True, eq=False)
class Example:
    """One image as the network takes it, with what is known about it. All tensors are ordinary ones, on the CPU.

    Attributes:
        key: what it is recognised by in later epochs: its id where the batch has ids, else its place in the loader.
        image: float `(C, H, W)`, on another device if that was asked for.
        labels: indices of the classes it shows; None if the batch has no labels.
        exclusive: one class per image, so scores are a softmax; else a sigmoid per class.
        mask: int64 `(H, W)` or None; 0 background, class index + 1, `void`.
        boxes: float `(n, 4)` xyxy in pixels of `image`, or None.
        box_labels: int64 `(n,)` class indices, or None.
        size: height and width of the original image, or None.
        content: height and width of `image`, from the upper left corner, that show the picture; None means all of it.
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
    content: tuple[int, int] | None = None
    index: int | None = None
    named: bool = True
    void: int = VOID

    def region(self, class_index: int) -> Tensor | None:
        """Where the class is, bool `(H, W)`: its pixels in the mask, else its boxes; None if it is nowhere."""
        if self.mask is not None:
            inside = self.mask == class_index + 1
        elif self.boxes is not None and self.box_labels is not None:
            height, width = self.image.shape[-2:]
            inside = box_masks(self.boxes, self.box_labels, [class_index], (height, width))[0]
        else:
            return None
        return inside if bool(inside.any()) else None

    @property
    def picture(self) -> Tensor:
        """`image` without its padding."""
        return self.within(self.image)

    def within(self, maps: Tensor) -> Tensor:
        """Maps `(..., H, W)` of `image`, or anything else that covers it, without its padding."""
        if self.content is None:
            return maps
        return maps[..., : self.content[0], : self.content[1]]

    @property
    def valid(self) -> Tensor:
        """Pixels that count, bool `(H, W)`."""
        valid = torch.zeros(self.image.shape[-2:], dtype=torch.bool)
        self.within(valid)[:] = True
        return valid if self.mask is None else valid & (self.mask != self.void)


def read_batch(batch: Any, place: str, adapter: BatchAdapter | None = None) -> list[Example]:
    """Read a batch of any known layout; see `Batch`."""
    opened = Batch(batch, place, adapter)
    return [opened.example(i) for i in range(len(opened))]


class Batch:
    """A batch whose labels are read at once and whose images only when they are asked for.

    Every tensor is copied to the CPU in normal mode: one born in inference mode would poison a later backward pass.

    Args:
        batch: what the dataloader gave, after its transfer.
        place: where the batch is, for the keys of images without an id.
        adapter: turns a batch of another layout into one of the known ones.

    Attributes:
        keys: of the images.
        labels: indices of the classes of each image; None where the batch has no labels.
        exclusive: whether an image has exactly one class.

    Raises:
        ValueError: no image, or labels or boxes that do not fit the images; says what was found instead. A mask that
            does not fit raises MaskError when it is read.
    """

    def __init__(self, batch: Any, place: str, adapter: BatchAdapter | None = None) -> None:
        with torch.inference_mode(False), torch.no_grad():
            parts = _parts(adapter(batch) if adapter is not None else batch)
            images = parts["image"]
            if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
                raise ValueError(
                    f"the batch's image is {_described(images)}, expected float (B, C, H, W); give batch_adapter="
                )
            self._images, self._masks = images, parts["mask"]
            count = len(images)
            self._voids = _voids(parts["void"], count)
            ids = None if parts["id"] is None else [_name(i) for i in parts["id"]]
            if ids is not None and len(ids) != count:
                raise ValueError(f"the batch has {count} images and {len(ids)} ids")
            self._named = ids is not None
            self.keys = [f"{place}:{i}" for i in range(count)] if ids is None else ids
            self._classes = _columns(parts["label"])
            self.labels: list[tuple[int, ...] | None]
            if parts["label"] is None and self._masks is not None:
                self.labels, self.exclusive = [self._shown(i) for i in range(count)], False
            else:
                self.labels, self.exclusive = _labels(parts["label"], count)
            self._sizes, self._contents = (_sizes(parts[name], count) for name in ("size", "content_size"))
            indices = None if parts["index"] is None else torch.as_tensor(parts["index"]).reshape(count).tolist()
            self._indices = [None] * count if indices is None else [int(i) for i in indices]
            self._boxes = _listed(parts["boxes"], "boxes", count)
            self._box_labels = _listed(parts["box_labels"], "box_labels", count)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def located(self) -> bool:
        """Whether the batch says where its objects are."""
        return self._masks is not None or any(boxes is not None for boxes in self._boxes)

    @cached_property
    def oddity(self) -> str | None:
        """What the masks of the batch contradict its labels in, with a remedy; None if nothing."""
        shown: list[tuple[set[int], tuple[int, ...]]] = []
        for i, labels in enumerate(self.labels if self._masks is not None else ()):
            with suppress(MaskError):
                mask = self.mask(i)
                ids = {self._voids[i]} if mask is None else {int(v) for v in mask.unique()}
                shown.append((ids - {0, self._voids[i]}, labels or ()))
        classes = set().union(*(ids for ids, _ in shown))
        remedy = "masks hold 0 for background, class index + 1, and void (255) for pixels that do not count"
        if not classes and any(labels for _, labels in shown):
            return f"no mask of a labelled batch shows a class, only background (0) and void (255); {remedy}"
        if classes == {1} and any(ids and labels and 0 not in labels for ids, labels in shown):
            return f"all masks of a batch hold only 0 and 1, but its images are of other classes than 0; {remedy}"
        return None

    def mask(self, index: int) -> Tensor | None:
        """The mask of an image, int64 `(H, W)`; None if the batch has none, or nothing but void.

        Raises:
            MaskError: it cannot be read.
        """
        if self._masks is None:
            return None
        size = (int(self._images.shape[-2]), int(self._images.shape[-1]))
        with torch.inference_mode(False), torch.no_grad():
            mask = read_mask(self._masks, index, len(self), size, self._classes)
        return None if bool((mask == self._voids[index]).all()) else mask

    def example(self, index: int, masked: bool = True, device: torch.device | str = "cpu") -> Example:
        """One image with all that is known about it.

        Args:
            index: of the image in the batch.
            masked: False leaves its mask out.
            device: of the image; one that is to be looked at at once need not travel to the CPU and back.

        Raises:
            MaskError: the mask cannot be read.
        """
        with torch.inference_mode(False), torch.no_grad():
            return Example(
                key=self.keys[index],
                image=_copy(self._images[index], device),
                labels=self.labels[index],
                exclusive=self.exclusive,
                mask=self.mask(index) if masked else None,
                boxes=self._boxes[index],
                box_labels=self._box_labels[index],
                size=self._sizes[index],
                content=self._contents[index],
                index=self._indices[index],
                named=self._named,
                void=self._voids[index],
            )

    def _shown(self, index: int) -> tuple[int, ...]:
        """The classes an image's mask shows."""
        mask = self.mask(index)
        if mask is None:
            return ()
        return tuple(int(v) - 1 for v in mask.unique() if v > 0 and v != self._voids[index])


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
        part = "mask" if looks_like_masks(value) else "label"
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


def _voids(void: Any, count: int) -> list[int]:
    if void is None:
        return [VOID] * count
    return [int(v) for v in torch.as_tensor(void).flatten().expand(count)]


def _columns(labels: Any) -> int | None:
    """How many classes multi-hot labels tell of."""
    return int(labels.shape[1]) if isinstance(labels, Tensor) and labels.ndim == 2 and labels.shape[1] > 1 else None


def _labels(labels: Any, count: int) -> tuple[list[tuple[int, ...] | None], bool]:
    """Class indices per image, and whether an image has exactly one."""
    if labels is None:
        return [None] * count, True
    if isinstance(labels, Sequence) and not isinstance(labels, str):
        if labels and all(isinstance(v, int | float) or (isinstance(v, Tensor) and v.ndim == 0) for v in labels):
            labels = torch.tensor([v.item() if isinstance(v, Tensor) else v for v in labels])
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


def _sizes(values: Any, count: int) -> list[tuple[int, int] | None]:
    """Pairs of height and width, one per image."""
    if values is None:
        return [None] * count
    return [(int(height), int(width)) for height, width in torch.as_tensor(values).reshape(count, 2).tolist()]


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


def _copy(values: Tensor, device: torch.device | str = "cpu") -> Tensor:
    return values.detach().clone().to(device)


def _name(value: Any) -> str:
    return str(value.item() if isinstance(value, Tensor) and value.numel() == 1 else value)


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
