"""Checks of what a caller hands to `attribute`, and the targets in one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution.errors import TargetError

Targets = Tensor | Sequence[int] | Sequence[Sequence[int]]

_RANKS = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
_SHAPES = {3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}


def check_images(model: nn.Module, images: Any) -> None:
    """Raise unless `images` is a batch the model can take.

    Args:
        model: The network, whose convolutions tell the number of dimensions.
        images: (N, C, H, W), or (N, C, L) for a network of 1-D convolutions, (N, C, D, H, W) for 3-D.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If rank, dtype or size are wrong, or a pixel is NaN or infinite.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images is {type(images).__name__}; expected a float tensor (N, C, H, W)")
    ranks = sorted({rank for m in model.modules() for kind, rank in _RANKS.items() if isinstance(m, kind)}) or [4]
    if images.ndim not in ranks:
        hint = " Add the batch dimension with images[None]." if images.ndim + 1 in ranks else ""
        expected = " or ".join(_SHAPES[r] for r in ranks)
        raise ValueError(f"images has shape {tuple(images.shape)}; this model takes {expected}.{hint}")
    if not images.is_floating_point():
        raise ValueError(f"images has dtype {images.dtype}; expected floats, normalised as the model was trained")
    if images.numel() == 0:
        raise ValueError(f"images has shape {tuple(images.shape)}: there is nothing to explain")
    bad = ~torch.isfinite(images).flatten(1).all(1)
    if bool(bad.any()):
        raise ValueError(f"images contains NaN or infinite pixels in sample(s) {bad.nonzero().flatten().tolist()}")


def target_lists(targets: Targets, batch: int) -> list[list[int]]:
    """Targets as one list of class indices per image.

    Args:
        targets: int (N,) or (N, T), or a sequence of N ints or of N sequences of ints (ragged).
        batch: N.

    Returns:
        N lists.

    Raises:
        TargetError: If the shape does not fit.
        TypeError: If an entry is no integer.
    """
    if isinstance(targets, Tensor):
        if targets.is_floating_point() or targets.dtype in (torch.bool, torch.complex64):
            raise TypeError(
                f"targets has dtype {targets.dtype}; expected integer class indices "
                "(for multi-hot labels: [row.nonzero().flatten().tolist() for row in labels])"
            )
        if targets.ndim not in (1, 2) or len(targets) != batch:
            raise TargetError(f"targets has shape {tuple(targets.shape)}; expected ({batch},) or ({batch}, T)")
        rows = targets.tolist()
    else:
        if isinstance(targets, (int, str)) or not isinstance(targets, Sequence):
            raise TypeError(f"targets is {type(targets).__name__}; expected int (N,), (N, T) or a list of N lists")
        rows = list(targets)
        if len(rows) != batch:
            raise TargetError(
                f"targets has {len(rows)} entries for {batch} images; expected one (or one list) per image"
            )
    lists = [_as_list(row) for row in rows]
    return [[_as_index(t, i) for t in row] for i, row in enumerate(lists)]


def _as_list(row: Any) -> list[Any]:
    if isinstance(row, Tensor):
        row = row.tolist()
    return list(row) if isinstance(row, Sequence) and not isinstance(row, str) else [row]


def _as_index(target: Any, image: int) -> int:
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise TypeError(f"target {target!r} of image {image} is no integer class index")
    return int(target)


def check_targets(lists: list[list[int]], classes: int) -> None:
    """Raise if a target is not a class of the model.

    Raises:
        TargetError: Names the image, the target and the range.
    """
    for i, row in enumerate(lists):
        for t in row:
            if not 0 <= t < classes:
                hint = " (its one logit is that of class 0, as binary=False says)" if classes == 1 else ""
                raise TargetError(
                    f"target {t} of image {i} is out of range: the model has classes 0 to {classes - 1}{hint}"
                )
