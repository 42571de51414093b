"""What a module returns, seen as a map of the images: channels first, channels last, or tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

EXTRA = 8
"""Tokens without a place (class, registers) at most; they come before the others."""


@dataclass(frozen=True)
class Layout:
    """How an output is a map; told from shapes alone, so that nothing is computed in a pass that may be recorded.

    Attributes:
        kind: of the output: (N, C, h, w), (N, h, w, C) or tokens (N, L, C).
        channels: C.
        size: (h, w).
    """

    kind: Literal["channels_first", "channels_last", "tokens"]
    channels: int
    size: tuple[int, int]

    def of(self, returned: Tensor) -> Tensor:
        """The map (N, C, h, w), a view of the output."""
        if self.kind == "channels_first":
            return returned
        if self.kind == "channels_last":
            return returned.permute(0, 3, 1, 2)
        return returned[:, -self.size[0] * self.size[1] :].mT.unflatten(2, self.size)


def layouts(returned: torch.Size, images: torch.Size) -> Iterator[Layout]:
    """The maps that a module's output may be, the usual one first.

    Args:
        returned: shape of the output: (N, C, h, w), (N, h, w, C) or of tokens (N, L, C), with class and register tokens
            before the others.
        images: shape (N, channels, H, W) of the images it was computed from.

    Yields:
        What it may be; nothing for an output of another kind or batch.
    """
    if returned[:1] != images[:1]:
        return
    if len(returned) == 4:
        _, first, second, third = returned
        yield Layout("channels_first", first, (second, third))
        yield Layout("channels_last", third, (first, second))
    elif len(returned) == 3:
        height, width = images[-2:]
        grids = []
        for extra in range(EXTRA + 1):
            places = returned[1] - extra
            rows = round(math.sqrt(places * height / width)) if places > 3 else 0
            if rows and places % rows == 0:
                grids.append((rows, places // rows))
        # Square patches first: 29 tokens of a 2:3 image are five without a place and 4 x 6, not one and 4 x 7.
        for size in sorted(grids, key=lambda grid: height * grid[1] != width * grid[0]):
            yield Layout("tokens", returned[2], size)
