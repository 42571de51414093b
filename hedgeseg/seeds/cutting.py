"""From scores to a mask: the background placed, optionally refined, argmax. Knows no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hedgeseg.seeds.background import Background, calibrate, cut
from hedgeseg.seeds.refine import Refiner, refined
from hedgeseg.seeds.seed import Seed


def cut_seed(
    scores: Tensor,
    classes: Tensor,
    background: Background,
    refiner: Refiner | None = None,
    picture: Callable[[], Tensor] | None = None,
    refine_side: int = 1024,
    estimates: Mapping[str, float] | None = None,
) -> Seed:
    """The seed of an image whose scores are known.

    Args:
        scores: float (K, H, W) in [0, 1]; kept in the seed as they are, so that it can be cut again.
        classes: int64 (K,) class indices.
        background: where the foreground ends.
        refiner: what makes regions follow edges, if anything.
        picture: gives uint8 (H, W, 3) for the refiner; called only if it is needed.
        refine_side: longest side in pixels at which the refiner works.
        estimates: of the seed's quality.

    Raises:
        ValueError: a refiner without a picture.
    """
    if len(classes) == 0:
        size = tuple(scores.shape[1:])
        return Seed(scores, classes, torch.zeros(size, dtype=torch.uint8), torch.ones(size), estimates or {})
    levels = [calibrate(scores, level) for level in background.levels(scores)]
    if refiner is not None:
        if picture is None:
            raise ValueError("a refiner looks at the picture, and there is none")
        shown = picture()
        levels = [refined(refiner, shown, probabilities, refine_side) for probabilities in levels]
    return Seed(scores, classes, cut(levels, classes), margin(levels[0]), estimates or {})


def margin(probabilities: Tensor) -> Tensor:
    """Confidence (H, W) in [0, 1]: how far the largest of the probabilities (L, H, W) is above the second."""
    first, second = probabilities.topk(2, dim=0).values
    return (first - second).clamp(0, 1)
