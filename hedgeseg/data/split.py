"""A seeded split of a data set that has none of its own."""

from collections.abc import Sequence

import numpy as np


def split_indices(count: int, train_fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Draws `train_fraction` of `count` indices; returns the drawn ones and the rest, both ascending.

    Raises:
        ValueError: the fraction leaves one of the two sets empty though it is not 0.
    """
    size = round(count * train_fraction)
    if train_fraction and not 0 < size < count:
        raise ValueError(
            f"train_fraction {train_fraction} of {count} images leaves no image to learn from or to validate on"
        )
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[:size].tolist()), sorted(order[size:].tolist())


def stratified_split(
    labels: Sequence[Sequence[int]], train_fraction: float, seed: int, groups: Sequence[str | None] | None = None
) -> tuple[list[int], list[int]]:
    """Draws a share of the images such that every class, and the images of none, are shared out alike.

    Iterative stratification: the rarest class first, each unit to the side that lacks most of that class. A class of
    two units or more is on both sides, one of a single unit is learnt from.

    Args:
        labels: classes of each image, any number.
        train_fraction: share to learn from, in [0, 1).
        seed: of the draw.
        groups: images of one group stay together; None is a group of its own.

    Returns:
        The drawn positions and the rest, both ascending.

    Raises:
        ValueError: the fraction leaves one of the two sides empty though it is not 0.

    Source: Sechidis et al., On the Stratification of Multi-Label Data, ECML 2011.
    """
    if not train_fraction:
        return [], list(range(len(labels)))
    units = _units(labels, groups)
    if len(units) < 2:
        raise ValueError(
            f"{len(labels)} images in {len(units)} group: nothing is left to validate on. Give images of other groups, "
            "or train_fraction 0"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(units)).tolist()
    kinds = [{label for i in unit for label in labels[i]} or {_NEGATIVE} for unit in units]
    members: dict[int, list[int]] = {}
    for unit in order:
        for kind in kinds[unit]:
            members.setdefault(kind, []).append(unit)
    wanted = {kind: _wanted(len(found), train_fraction) for kind, found in members.items()}
    total = [train_fraction * len(units), (1 - train_fraction) * len(units)]
    side: dict[int, int] = {}
    for kind in sorted(members, key=lambda kind: (len(members[kind]), kind)):
        for unit in members[kind]:
            if unit in side:
                continue
            lacking = wanted[kind]
            chosen = 0 if (lacking[0], total[0]) >= (lacking[1], total[1]) else 1
            side[unit] = chosen
            total[chosen] -= 1
            for other in kinds[unit]:
                wanted[other][chosen] -= 1
    size = round(train_fraction * len(units))
    if len(set(side.values())) == 1 and 0 < size < len(units):  # no class has two units: any draw is as good
        side = {unit: int(i >= size) for i, unit in enumerate(order)}
    sides = [sorted(i for unit, s in side.items() if s == chosen for i in units[unit]) for chosen in (0, 1)]
    if not all(sides):
        raise ValueError(
            f"train_fraction {train_fraction} of {len(labels)} images leaves no image to learn from or to validate on"
        )
    return sides[0], sides[1]


_NEGATIVE = -1


def _wanted(count: int, fraction: float) -> list[float]:
    """How many units of a class either side wants: one at least, if there are two."""
    if count < 2:
        return [float(count), 0.0]
    train = min(max(count * fraction, 1.0), count - 1.0)
    return [train, count - train]


def _units(labels: Sequence[Sequence[int]], groups: Sequence[str | None] | None) -> list[list[int]]:
    """Positions that stay together."""
    if groups is None:
        return [[i] for i in range(len(labels))]
    found: dict[tuple[str | None, int], list[int]] = {}
    for i, group in enumerate(groups):
        found.setdefault((group, -1) if group is not None else (None, i), []).append(i)
    return list(found.values())
