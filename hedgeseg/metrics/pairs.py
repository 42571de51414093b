"""What every localisation metric takes: a map, the object it should point at, and the pixels that count.

A *pair* is one (image, class): its map, the mask of that class, the class index and the valid pixels. An image with
three labels gives three pairs. Checking happens here once, so that the metrics themselves are only arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Pairs", "check_classes", "check_maps", "pair_up", "resize_maps"]


@dataclass(frozen=True)
class Pairs:
    """Checked inputs of one update, all on the maps' device.

    Attributes:
        maps: float32 or float64 `(B, H, W)`, finite, at the masks' size.
        masks: bool `(B, H, W)`, object pixels; never true where `valid` is false.
        valid: bool `(B, H, W)`, false where a pixel is to be ignored.
    """

    maps: Tensor
    masks: Tensor
    valid: Tensor

    @property
    def trivial(self) -> Tensor:
        """Bool `(B,)`: the mask covers none or all of the valid pixels, so no map could be wrong about it."""
        inside = self.masks.flatten(1).sum(1)
        return (inside == 0) | (inside == self.valid.flatten(1).sum(1))


def check_maps(maps: Tensor, name: str = "maps") -> Tensor:
    """Return `maps` as float32 (float64 stays), or say what is wrong with them.

    Args:
        maps: float `(B, H, W)` of any range.
        name: how the error calls them.

    Raises:
        TypeError: if they are no floating-point tensor.
        ValueError: if the shape is wrong or a map holds NaN or infinity; the error names the map's index.
    """
    if not isinstance(maps, Tensor) or not maps.is_floating_point():
        kind = maps.dtype if isinstance(maps, Tensor) else type(maps).__name__
        raise TypeError(
            f"{name} must be a floating-point tensor, got {kind}; convert with torch.as_tensor(...).float()"
        )
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise ValueError(
            f"{name} must be (B, H, W), got {tuple(maps.shape)}; "
            "flatten the targets of maps (N, T, H, W) with flatten(0, 1)"
        )
    maps = maps.detach()
    broken = ~maps.isfinite().flatten(1).all(1)
    if broken.any():
        first = int(broken.nonzero()[0])
        what = "NaN" if bool(maps[first].isnan().any()) else "infinity"
        raise ValueError(
            f"{name}[{first}] holds {what} ({int(broken.sum())} of {len(maps)} do); drop such maps, "
            "for example the NaN rows past a ragged image's targets, before scoring"
        )
    return maps if maps.dtype == torch.float64 else maps.float()


def check_classes(classes: Tensor | Sequence[int] | None, count: int, num_classes: int | None) -> Tensor:
    """Return the row of the per-class states that each of `count` pairs goes to, int64 `(B,)`.

    With `num_classes=None` there is one row and the classes are not needed.

    Raises:
        ValueError: if classes are needed and missing, not one per map, or out of range.
        TypeError: if they are not integers.
    """
    if num_classes is None:
        return torch.zeros(count, dtype=torch.int64)
    if classes is None:
        raise ValueError(
            f"classes are needed with num_classes={num_classes}; pass one index per map or num_classes=None"
        )
    rows = torch.as_tensor(classes).detach()
    if rows.numel() and (rows.is_floating_point() or rows.dtype == torch.bool):
        raise TypeError(f"classes must be integers, got {rows.dtype}")
    if rows.shape != (count,):
        raise ValueError(f"classes must hold one index per map, shape ({count},), got {tuple(rows.shape)}")
    rows = rows.long()
    outside = (rows < 0) | (rows >= num_classes)
    if outside.any():
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"classes[{first}] = {int(rows[first])} is not in 0..{num_classes - 1}; num_classes={num_classes}"
        )
    return rows


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize `(B, H, W)` maps bilinearly (`align_corners=False`, no antialiasing), as the pointing game prescribes."""
    if maps.shape[1:] == size or not len(maps):
        return maps.reshape(len(maps), *size) if not len(maps) else maps
    return interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _check_mask(mask: Tensor, name: str, count: int) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name} must be a bool tensor, got {kind}; compare first, for example mask == class_index + 1")
    if mask.ndim != 3 or len(mask) != count:
        raise ValueError(f"{name} must be ({count}, H, W), one per map, got {tuple(mask.shape)}")
    return mask.detach()


def pair_up(maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> Pairs:
    """Check maps, masks and valid pixels against each other and bring them to one size and device.

    Args:
        maps: float `(B, h, w)` of any range; resized bilinearly to the masks' size if that differs.
        masks: bool `(B, H, W)`.
        valid: bool `(B, H, W)` or None (all pixels count). False pixels are left out of everything.

    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes disagree, or a map holds NaN or infinity.
    """
    maps = check_maps(maps)
    masks = _check_mask(masks, "masks", len(maps)).to(maps.device)
    if valid is None:
        valid = torch.ones_like(masks)
    else:
        valid = _check_mask(valid, "valid", len(maps)).to(maps.device)
        if valid.shape != masks.shape:
            raise ValueError(f"valid must have the masks' shape {tuple(masks.shape)}, got {tuple(valid.shape)}")
    return Pairs(resize_maps(maps, (masks.shape[1], masks.shape[2])), masks & valid, valid)
