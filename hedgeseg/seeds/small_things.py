"""Classes whose instances are small, known by their maps alone, and what is done otherwise with them.

The map of something small is a peak about as wide as the network's places, and the thing is the tip of it: the levels
that suit what is large paint the peak's foot, tens of times the thing. And a classifier of places, each as large as the
thing or larger, loses it. So small things keep their own scores, cut close to their maximum.

Which classes are small is told by the participation ratio of their maps, `mean(s)^2 / mean(s^2)` over all pixels of all
their images: the share of the picture on which the map would lie if it were flat there and nothing elsewhere. It is
never below what one place takes, so the share that tells depends on the map: 0.15 for hedged relevance with `stages:
ends`, not spread, of pictures of 449 pixels (`docs/seeds.md`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from hedgeseg.seeds.auto_level import PerClass, PooledMoments

if TYPE_CHECKING:
    from hedgeseg.seeds.background import Background

TIP = 0.8
"""Lowest level of what is small, as a share of the map's maximum."""


def small_classes(pooled: PooledMoments, share: float) -> frozenset[int]:
    """Indices of the classes whose scores have a participation ratio below a share of the pictures.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"small is a share of the pictures in [0, 1] such as 0.15, got {share}")
    return frozenset(c for c in pooled.classes if pooled[c].participation < share)


def at_the_tip(rule: Background, classes: Sequence[int], small: Collection[int]) -> Background:
    """The rule of an image with the levels of small classes at `TIP` or higher; a rule without known levels as it is.

    Args:
        rule: of the image.
        classes: indices of its classes, in the order of the levels.
        small: indices of the small ones.
    """
    if not isinstance(rule, PerClass):
        return rule
    return PerClass(
        tuple(max(level, TIP) if c in small else level for level, c in zip(rule.known, classes, strict=True))
    )
