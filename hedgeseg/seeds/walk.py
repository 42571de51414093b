"""A random walk between neighbouring places: scores flow where the affinity is high, and stop where it is low.

`a_ij` in [0, 1] between places nearer than a radius; `T_ij = a_ij^beta / sum_k a_ik^beta`, the place itself included;
after t steps `x = T^t x`. (Ahn & Kwak 2018, equations 1 and 2; Ahn et al. 2019, section 4.) The matrix has some 70
numbers per place: it is never built, far less its power, each step adds up shifted copies of the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.fusion import normalise

RADIUS = 5
"""Places nearer than this, in steps of the grid, are neighbours."""


def half_disc(radius: int = RADIUS) -> list[tuple[int, int]]:
    """Offsets (down, right) of one of each pair of opposite neighbours."""
    return [
        (down, right)
        for down in range(radius)
        for right in range(-radius + 1, radius)
        if 0 < down * down + right * right < radius * radius and (down > 0 or right > 0)
    ]


def apart(maps: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Maps (..., H, W) at every place that has this neighbour, and at the neighbour."""
    height, width = maps.shape[-2:]
    here = maps[..., : height - down, max(0, -right) : width - max(0, right)]
    there = maps[..., down:, max(0, right) : width - max(0, -right)]
    return here, there


def affinities(embedding: Tensor, radius: int = RADIUS) -> Iterator[Tensor]:
    """`exp(-mean |f_i - f_j|)` of the pairs of each offset of `half_disc`.

    Args:
        embedding: float (D, h, w).
        radius: see `RADIUS`.

    Yields:
        float (h - down, w - |right|) in (0, 1], at the upper place of each pair.
    """
    for down, right in half_disc(radius):
        here, there = apart(embedding, down, right)
        yield torch.exp(-(here - there).abs().mean(0))


@dataclass(frozen=True, eq=False)
class Walk:
    """A walk over one image.

    Attributes:
        weights: float (2 * offsets, h, w), probability to come from the neighbour below, and from the one above.
        stay: float (h, w), probability to stay.
        steps: of the walk.
        radius: see `RADIUS`.
    """

    weights: Tensor
    stay: Tensor
    steps: int
    radius: int = RADIUS

    @property
    def size(self) -> tuple[int, int]:
        """The grid of places."""
        return int(self.stay.shape[0]), int(self.stay.shape[1])

    def spread(self, scores: Tensor) -> Tensor:
        """Scores (K, h, w) after the walk, each class divided by its maximum."""
        return normalise(self.walked(scores))

    def walked(self, scores: Tensor) -> Tensor:
        """Scores (K, h, w) after the walk: at every place a mean of scores, so that they keep their range."""
        (height, width), reach = self.size, self.radius
        offsets = half_disc(self.radius)
        signed = [*offsets, *((-down, -right) for down, right in offsets)]
        for _ in range(self.steps):
            padded = F.pad(scores, (reach,) * 4)
            walked = scores * self.stay
            for weight, (down, right) in zip(self.weights, signed, strict=True):
                walked.addcmul_(
                    weight, padded[:, reach + down : reach + down + height, reach + right : reach + right + width]
                )
            scores = walked
        return scores


def walk(embedding: Tensor, beta: float, steps: int, radius: int = RADIUS) -> Walk:
    """The walk that an embedding (D, h, w) of the places tells.

    Args:
        embedding: float; places of like embedding are alike.
        beta: larger trusts only what is most alike.
        steps: of the walk.
        radius: see `RADIUS`.
    """
    height, width = embedding.shape[-2:]
    offsets = half_disc(radius)
    weights = embedding.new_zeros(2 * len(offsets), height, width)
    for number, ((down, right), alike) in enumerate(zip(offsets, affinities(embedding, radius), strict=True)):
        near = alike**beta
        apart(weights[number], down, right)[0].copy_(near)
        apart(weights[len(offsets) + number], down, right)[1].copy_(near)
    total = 1 + weights.sum(0)
    return Walk(weights / total, 1 / total, steps, radius)
