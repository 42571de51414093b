"""What a module returns, seen as a map of the images: channels first, channels last, or tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

EXTRA = 8
"""Tokens without a place (class, registers) at most; they come before the others."""


def layouts(returned: Tensor, images: torch.Size) -> Iterator[Tensor]:
    """The maps that a module's output may be, the usual one first.

    Args:
        returned: (N, C, h, w), (N, h, w, C) or tokens (N, L, C), with class and register tokens before the others.
        images: shape (N, channels, H, W) of the images it was computed from.

    Yields:
        (N, C, h, w), views of the output; nothing for an output of another kind or batch.
    """
    if returned.shape[:1] != images[:1]:
        return
    if returned.ndim == 4:
        yield returned
        yield returned.permute(0, 3, 1, 2)
    elif returned.ndim == 3:
        height, width = images[-2:]
        grids = []
        for extra in range(EXTRA + 1):
            places = returned.shape[1] - extra
            rows = round(math.sqrt(places * height / width)) if places > 3 else 0
            if rows and places % rows == 0:
                grids.append((extra, rows, places // rows))
        # Square patches first: 29 tokens of a 2:3 image are five without a place and 4 x 6, not one and 4 x 7.
        for extra, rows, columns in sorted(grids, key=lambda grid: height * grid[2] != width * grid[1]):
            yield returned[:, extra:].mT.unflatten(2, (rows, columns))
