"""Relevance on its way to the pixels: maps of the stages that a sweep passes.

Relevance narrows as it moves down a network: at the end of a coarse stage it covers an object, at the pixels its most
telling edges. A sweep passes every stage anyway, so a map of coarse stages costs less than one of the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from hedgeseg.attribution.errors import LayerError
from hedgeseg.attribution.nodes import Op, Value

aten = torch.ops.aten

Named = Literal["coarse", "ends"]
Wanted = Sequence[int] | Named
ToImages = Callable[[Value, Tensor], Tensor]

PIXELS = 1
"""The stride that stands for the pixels themselves."""

COARSE = 2
"""How many of a network's coarsest stages "coarse" and "ends" take."""


class Stages:
    """Watches one sweep and keeps the relevance of the wanted stages.

    A stage is a stride: how many pixels lie between neighbouring places, to the nearest power of two. Its relevance is
    taken where all of it first passes through a single value of that stride: at the end of the stage, or just behind
    it.

    Args:
        images: shape of the images, (N, C, *space).
        to_images: brings the map (T, N, *space) of a value to the grid of the images, as `Projection.to_images` does:
            a stage may see the image mirrored or cut out.
        wanted: the strides of the stages, powers of two, 1 the pixels; "coarse" is the two coarsest, "ends" these
            and the pixels.

    Raises:
        ValueError: no stage, or a stride that is no power of two.
    """

    def __init__(self, images: torch.Size, to_images: ToImages, wanted: Wanted) -> None:
        check_stages(wanted)
        self.images, self._to_images = images, to_images
        self._strides = None if isinstance(wanted, str) else tuple(int(stride) for stride in wanted)
        self._to_pixels = wanted == "ends"
        self._maps: dict[int, tuple[Value | None, Tensor]] = {}

    def passed(self, op: Op, outputs: Sequence[Tensor | None], alone: bool) -> bool:
        """Look at what arrived at an operation's outputs.

        Args:
            op: the operation that is passed next.
            outputs: relevance (T, *shape) of its outputs.
            alone: whether there is no other relevance anywhere.

        Returns:
            Whether all that is wanted has been seen, so that the sweep may end.
        """
        if alone and op.packet is not aten.constant_pad_nd:  # padding moves the places
            for value, relevance in zip(op.outputs, outputs, strict=False):
                if value is not None and relevance is not None and sum(r is not None for r in outputs) == 1:
                    self._take(value, relevance)
        if self._strides is None:
            return len(self._maps) == COARSE and not self._to_pixels
        return set(self._strides) <= self._maps.keys()

    def maps(self, pixels: Tensor | None) -> Tensor:
        """Mean of the stages' maps, each divided by its largest absolute value.

        Args:
            pixels: relevance of the images (T, N, C, *space), needed for stride 1.

        Returns:
            (T, N, *space), signed.

        Raises:
            LayerError: the network has no such stage, or its relevance passes it in several branches at once.
        """
        strides = tuple(self._maps) if self._strides is None else self._strides
        if self._to_pixels:
            strides = (*strides, PIXELS)
        if pixels is not None and (PIXELS in strides or not strides):
            strides, self._maps[PIXELS] = strides or (PIXELS,), (None, pixels.sum(2))
        missing = sorted(set(strides) - self._maps.keys())
        if missing:
            raise LayerError(
                f"stages={list(strides)}: all relevance passes through a single map at strides "
                f"{sorted({PIXELS, *self._maps})}, but not at {missing}"
            )
        return torch.stack([self._shown(*self._maps[stride]) for stride in strides]).mean(0)

    def _take(self, value: Value, relevance: Tensor) -> None:
        for channel, space in ((1, value.shape[2:]), (len(value.shape) - 1, value.shape[1:-1])):
            stride = self._stride(value.shape[0], space)
            if stride is not None:
                if stride != PIXELS and (self._strides is not None or len(self._maps) < COARSE):
                    self._maps.setdefault(stride, (value, relevance.sum(channel + 1)))
                return

    def _stride(self, batch: int, space: torch.Size) -> int | None:
        """The power of two that fits all sides; None where the value is no map of the images."""
        if batch != self.images[0] or len(space) != len(self.images) - 2 or 0 in space:
            return None
        exponents = {round(math.log2(side / small)) for side, small in zip(self.images[2:], space, strict=True)}
        return 2 ** exponents.pop() if len(exponents) == 1 and min(exponents) >= 0 else None

    def _shown(self, value: Value | None, maps: Tensor) -> Tensor:
        peak = maps.flatten(2).abs().amax(-1).clamp(min=torch.finfo(maps.dtype).tiny)
        scaled = maps / peak.view(*peak.shape, *(1,) * (maps.ndim - 2))
        return scaled if value is None else self._to_images(value, scaled)


def check_stages(wanted: Wanted) -> None:
    """Refuse what names no stage.

    Raises:
        ValueError: no stage, one that is named twice, or a stride that is no power of two.
    """
    if isinstance(wanted, str) and wanted in get_args(Named):
        return
    strides = [] if isinstance(wanted, str) else list(wanted)
    wrong = [s for s in strides if isinstance(s, bool) or not isinstance(s, int) or s < 1 or s & (s - 1)]
    if wrong or not strides or len(set(strides)) != len(strides):
        raise ValueError(
            f'stages={wanted!r}: must be "coarse", "ends", or different strides, each a power of two, such as [16, 32]'
            "; 1 is the pixels"
        )
