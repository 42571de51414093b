"""Maps of images too large for one pass: overlapping tiles, blended.

Each tile is explained alone, so memory follows the tile, not the image. A tile that does not show the class explains
noise just as loudly as the others; its map is therefore weighted by how much lower its logit is than the best tile's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hedgeseg.seeds.maps import MapFunction


@runtime_checkable
class Explainer(Protocol):
    """What gives maps and logits, such as `MapSource`."""

    def explain(self, model: nn.Module, images: Tensor, targets: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Maps (N, T, h, w) and logits (N, K)."""
        ...


class TiledMaps:
    """A map function that looks at an image through overlapping tiles.

    `SeedGenerator(method=TiledMaps(MapSource("hedge"), tile=480))` makes seeds of photographs of any size.

    Args:
        source: explains one tile.
        tile: side of a tile in pixels; an image no larger is passed through whole.
        overlap: share of the tile that it has in common with the next, in [0, 1).

    Raises:
        ValueError: a tile below 1 pixel or an overlap out of range.
    """

    def __init__(self, source: Explainer, tile: int = 480, overlap: float = 0.25) -> None:
        if tile < 1 or not 0 <= overlap < 1:
            raise ValueError(f"tile must be 1 pixel or more and overlap in [0, 1), got {tile} and {overlap}")
        self.source = source
        self.tile = tile
        self.overlap = overlap

    def __repr__(self) -> str:
        return f"TiledMaps({self.source!r}, tile={self.tile}, overlap={self.overlap})"

    def __call__(self, model: nn.Module, images: Tensor, targets: list[list[int]]) -> Tensor:
        """Blended maps (N, T, H, W); all images have the same number of targets."""
        if max(images.shape[-2:]) <= self.tile:
            return self.source.explain(model, images, targets)[0]
        one_by_one = zip(images, targets, strict=True)
        return torch.stack([self._one(model, image, classes) for image, classes in one_by_one])

    def _one(self, model: nn.Module, image: Tensor, classes: list[int]) -> Tensor:
        height, width = image.shape[-2:]
        total = image.new_zeros(len(classes), height, width, dtype=torch.float32)
        weights = image.new_zeros(height, width, dtype=torch.float32)
        best = image.new_full((len(classes),), -math.inf, dtype=torch.float32)
        for rows, columns in windows((height, width), self.tile, self.overlap):
            maps, logits = self.source.explain(model, image[None, :, rows, columns], [classes])
            seen = logits[0, classes].float()
            higher = torch.maximum(best, seen)
            # A better tile than all before lowers what is there already, as in a running softmax.
            total *= _gate(best, higher)
            blend = _hann(maps.shape[-2], maps.device)[:, None] * _hann(maps.shape[-1], maps.device)
            total[:, rows, columns] += maps[0].float() * blend * _gate(seen, higher)
            weights[rows, columns] += blend
            best = higher
        return total / weights


def tiled(source: MapFunction, tile: int) -> TiledMaps:
    """A source of maps that looks through tiles.

    Raises:
        TypeError: the source gives no logits, by which tiles are weighted.
    """
    if not isinstance(source, Explainer):
        raise TypeError(f"tiles are weighted by their logits, which {source!r} does not tell: give it `explain`")
    return TiledMaps(source, tile)


def windows(size: tuple[int, int], tile: int, overlap: float) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles that cover an image, evenly spread, overlapping by at least `overlap`."""
    for rows in _spans(size[0], tile, overlap):
        for columns in _spans(size[1], tile, overlap):
            yield rows, columns


def _spans(length: int, tile: int, overlap: float) -> list[slice]:
    if length <= tile:
        return [slice(0, length)]
    count = math.ceil((length - tile) / max(1, tile * (1 - overlap))) + 1
    starts = [round(i * (length - tile) / (count - 1)) for i in range(count)]
    return [slice(start, start + tile) for start in starts]


def _hann(length: int, device: torch.device) -> Tensor:
    """Hann window without its zeros, so that pixels on the image's border keep a weight."""
    return torch.hann_window(length + 2, periodic=False, device=device)[1:-1]


def _gate(logits: Tensor, best: Tensor) -> Tensor:
    return torch.exp(logits - best).view(-1, 1, 1)
