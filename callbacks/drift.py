"""The maps of the look before, small, to tell how far each image's map has drifted since."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from hedgeseg.callbacks.explanations import Explanation
from hedgeseg.metrics import spearman

GRID = 56


def pooled(maps: Tensor, grid: int = GRID) -> Tensor:
    """Average-pool maps `(T, H, W)` to at most `(T, grid, grid)`.

    A comparison should tell whether the network looks elsewhere, not whether single pixels of a spiky map moved.
    """
    height, width = maps.shape[-2:]
    return adaptive_avg_pool2d(maps, (min(height, grid), min(width, grid)))


class DriftTracker:
    """Keeps one pooled map per loader, image and class."""

    def __init__(self) -> None:
        self._maps: dict[str, dict[str, dict[int, Tensor]]] = {}

    def drifts(self, loader: str, explanation: Explanation) -> list[float | None]:
        """1 - Spearman correlation of each map with the one remembered, which the new one replaces.

        Returns:
            One number in [0, 2] per map, 0 for no change; None where nothing is remembered or a map is constant.
        """
        images = self._maps.setdefault(loader, {})
        before = images.setdefault(explanation.example.key, {})
        drifts: list[float | None] = []
        for index, now in zip(explanation.classes, pooled(explanation.maps), strict=True):
            earlier = before.get(index)
            known = earlier is not None and earlier.shape == now.shape
            drift = 1 - float(spearman(earlier[None], now[None])) if known and earlier is not None else math.nan
            drifts.append(None if math.isnan(drift) else drift)
            before[index] = now
        return drifts

    def state_dict(self) -> dict[str, dict[str, dict[int, Tensor]]]:
        """The maps, as plain dicts of tensors."""
        return {
            loader: {key: {index: m.clone() for index, m in maps.items()} for key, maps in images.items()}
            for loader, images in self._maps.items()
        }

    def load_state_dict(self, state: dict[str, dict[str, dict[int, Tensor]]]) -> None:
        """Remember what a checkpoint knew."""
        self._maps = {
            loader: {key: {int(index): m.cpu() for index, m in maps.items()} for key, maps in images.items()}
            for loader, images in state.items()
        }
