"""The one layout that every data set of the project gives, as a sample and as a batch.

| key            | sample                 | batch              | meaning                                             |
|----------------|------------------------|--------------------|-----------------------------------------------------|
| `image`        | float (3, H, W)        | float (B, 3, H, W) | normalised, as the network takes it                 |
| `label`        | float (K,) or int64 () | (B, K) or (B,)     | multi-hot (multi-label) or class index              |
| `mask`         | int64 (H, W)           | int64 (B, H, W)    | 0 background, class index + 1, void; may lack; all  |
|                |                        |                    | void for an image without one among others with one |
| `void`         | int64 ()               | int64 (B,)         | id of void in the mask, only where it is not 255    |
| `pseudo`       | bool ()                | bool (B,)          | the mask was made from labels; only where it was    |
| `boxes`        | float (n, 4)           | list of B          | x0, y0, x1, y1 in pixels of the transformed image   |
| `box_labels`   | int64 (n,)             | list of B          | class index of each box                             |
| `id`           | str                    | list of B          | name of the image, unique in its data set           |
| `size`         | int64 (2,)             | int64 (B, 2)       | height and width of the original image              |
| `content_size` | int64 (2,)             | int64 (B, 2)       | height and width of `image`, from the upper left    |
|                |                        |                    | corner, that show the picture; the rest is padding, |
|                |                        |                    | void in the mask                                    |
| `index`        | int64 ()               | int64 (B,)         | position in the data set                            |

Void, the pixels that no metric counts, is 255, as everywhere. More than 254 classes leave no room for it in eight bits:
their masks are 16 bits wide and their void is 65535, and `void` says so to whoever reads the batch.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import torch

VOID = 255
"""Mask id of pixels that no metric counts, where there are at most 254 classes."""

WIDE_VOID = 65535
"""The same where there are more."""


class Sample(TypedDict):
    """One image with its annotations; the module docstring gives the shapes."""

    image: torch.Tensor
    label: torch.Tensor
    mask: NotRequired[torch.Tensor]
    void: NotRequired[torch.Tensor]
    pseudo: NotRequired[torch.Tensor]
    boxes: torch.Tensor
    box_labels: torch.Tensor
    id: str
    size: torch.Tensor
    content_size: torch.Tensor
    index: torch.Tensor


Batch = dict[str, Any]

_STACKED = ("image", "label", "mask", "void", "pseudo", "size", "content_size", "index")
_LISTED = ("boxes", "box_labels", "id")


def void_id(num_classes: int) -> int:
    """Mask id of void beside `num_classes` classes: 255 while it is free, else 65535.

    Raises:
        ValueError: more classes than 16 bits tell apart.
    """
    if num_classes >= WIDE_VOID:
        raise ValueError(f"{num_classes} classes do not fit a mask of 16 bits, which tells {WIDE_VOID - 1} apart")
    return VOID if num_classes < VOID else WIDE_VOID


def collate(samples: Sequence[Sample]) -> Batch:
    """Joins samples into a batch: tensors of one shape are stacked, the ragged ones stay lists.

    Args:
        samples: at least one sample, images of one size. Where only some have a mask, the others get one that is all
            void: it says nothing.

    Raises:
        ValueError: images differ in size.
    """
    shapes = {tuple(sample["image"].shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(
            f"images of a batch differ in shape: {sorted(shapes)}. Use a transform with a fixed size, or batch_size=1."
        )
    rows: list[dict[str, Any]] = [dict(sample) for sample in samples]
    masked = next((row for row in rows if "mask" in row), None)
    if masked is not None:
        void = masked.get("void", torch.tensor(VOID))
        for row in rows:
            if "mask" not in row:
                row["mask"] = torch.full_like(masked["mask"], int(void))
                row.update({"void": void} if "void" in masked else {})
    batch: Batch = {key: torch.stack([row[key] for row in rows]) for key in _STACKED if key in rows[0]}
    batch.update({key: [row[key] for row in rows] for key in _LISTED})
    return batch
