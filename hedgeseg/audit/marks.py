"""Marks: things that part of a class's pictures carry, that the network uses, and that nothing else looks like.

A cheat is nearly a copy of itself: a label, a logo, a watermark. So places at which a class has its strongest evidence
are grouped by what the network sees there (`view`), each group becomes a detector, and the detector looks for the same
thing at every place of every picture. Natural parts of a class are found more or less, in a continuum, and in other
classes too; a mark is there or not, and between the two there is a gap.

A detector is Fisher's linear discriminant between a group and all places, whose covariance was taken out before
(Hariharan et al., "Discriminative decorrelation for clustering and classification", 2012). Those that it finds give
the next detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgeseg.audit.places import strongest

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STRONG = 0.25
"""Share of a map's maximum that a place has to have to begin a group."""

SMALLEST, LARGEST = 0.03, 0.5
"""Shares of a class between which a mark may lie: less is chance, more is the class itself."""

FEWEST = 10
"""Pictures that carry a mark at least."""

ROUNDS = 3
"""How often a detector is made of what the one before found."""

SHRINKAGES = (0.02, 0.1)
"""Of the covariance, as shares of its mean eigenvalue; a mark that either of them shows is one."""

SAMPLED, BEGUN = 60_000, 2_000
"""Places that the covariance is estimated from, and places that are grouped, at most."""

COMPARED = 1_000
"""Pictures of other classes that are looked at, at most."""

GAP = 0.25
"""How wide the gap between pictures with and without a mark is at least, as a share of their mean distance."""

BETWEEN = 0.35
"""Pictures that may lie between the two, as a share of the carriers; never more than the gap."""

ELSEWHERE = 0.02
"""Share of other classes' pictures that may look as if they carried it."""

IN_MEMORY = 64
"""Pictures that are looked at together."""

BEGINNING = 0.7
"""Largest share of the pictures that a group of places is of: it may hold more than the mark."""

SAME = 0.3
"""Marks that share more of their carriers are one, or of one."""

USED = 0.15
"""Share of the carriers at which the network uses it, beyond what chance gives: where the map exceeds `STRONG` of its
maximum at its place or beside it. A place drawn at random counts 0, every carrier 1, and so little that it may be
chance (two standard errors) 0."""


EXTENT, LARGE = 0.03, 0.08
"""Share of a picture that looks at least half as like it, in the middle carrier. Beyond the second it is an object;
beyond the first its gap has to exceed what lies between by `CLEAR`."""

CLEAR = 0.6
"""See `EXTENT`."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Something that some pictures of a class carry.

    Attributes:
        carriers: bool (n,), pictures of the class that carry it.
        places: int (n,), the place in each picture's grid that looks most like it.
        likeness: (n,), how like it that place is: 1 on average over the carriers.
        gap: see `GAP`.
        between: see `BETWEEN`.
        elsewhere: see `ELSEWHERE`.
        used: see `USED`.
        extent: see `EXTENT`.
    """

    carriers: Flags
    places: Labels
    likeness: Array
    gap: float
    between: float
    elsewhere: float
    used: float
    extent: float

    @property
    def stands_out(self) -> bool:
        """Whether it is there or not, is nowhere else, and the network uses it."""
        return (
            int(self.carriers.sum()) >= FEWEST
            and SMALLEST <= float(self.carriers.mean()) <= LARGEST
            and self.gap >= GAP
            and self.between <= min(BETWEEN, self.gap)
            and self.elsewhere <= ELSEWHERE
            and self.used >= USED
            and (self.extent <= EXTENT or (self.extent <= LARGE and self.gap - self.between >= CLEAR))
        )


class Space:
    """What is seen at all places of all pictures, with the covariance taken out.

    Args:
        views: (N, h, w, D).
        shrinkage: of the covariance, see `SHRINKAGES`.
    """

    def __init__(self, views: Halves, shrinkage: float) -> None:
        self._views = views.reshape(len(views), -1, views.shape[-1])
        seen = self._views.reshape(-1, views.shape[-1])
        sample = np.asarray(seen[:: max(1, len(seen) // SAMPLED)], np.float64)
        self._mean, self._spread = sample.mean(0), sample.std(0) + 1e-6
        values, vectors = np.linalg.eigh(np.cov((sample - self._mean) / self._spread, rowvar=False))
        self._matrix = vectors / np.sqrt(np.maximum(values, 0) + shrinkage * max(float(values.mean()), 1e-12))

    def at(self, images: Labels, places: Labels) -> Array:
        """Descriptors (n, D) of one place of each image."""
        seen = (np.asarray(self._views[images, places], np.float64) - self._mean) / self._spread
        return np.asarray(seen @ self._matrix)

    def likeness(self, images: Labels, detectors: Array) -> tuple[Array, Labels, Array]:
        """How like the detectors (K, D) the pictures are, (n, K) each.

        Returns:
            Of the likest place of each picture how like it is, and its index; and the share of the places that are at
            least half as like.
        """
        weights = (self._matrix @ detectors.T) / self._spread[:, None]
        offset = self._mean @ weights
        best, places, extents = [], [], []
        for start in range(0, len(images), IN_MEMORY):
            part = self._views[images[start : start + IN_MEMORY]].astype(np.float32) @ weights.astype(np.float32)
            part -= offset.astype(np.float32)
            places.append(part.argmax(1))
            best.append(part.max(1))
            extents.append((part >= best[-1][:, None] / 2).mean(1))
        return np.concatenate(best).astype(np.float64), np.concatenate(places), np.concatenate(extents)


def find_marks(spaces: Sequence[Space], own: Labels, others: Labels, maps: Halves, seed: int = 0) -> list[Mark]:
    """Look for marks on the pictures of a class.

    Args:
        spaces: of all pictures, one for each shrinkage.
        own: the class's pictures in them, (n,).
        others: those without the class.
        maps: (n, h, w), where the class's evidence is.
        seed: of what is drawn where there is too much.

    Returns:
        Marks that stand out, the clearest first; no two of them share most of their carriers.
    """
    rng = np.random.default_rng(seed)
    if len(others) > COMPARED:
        others = np.sort(rng.choice(others, COMPARED, replace=False))
    found = [mark for space in spaces for mark in _candidates(space, own, others, maps, rng)]
    return _apart([mark for mark in found if mark.stands_out])


def _candidates(space: Space, own: Labels, others: Labels, maps: Halves, rng: np.random.Generator) -> list[Mark]:
    detectors = _beginnings(space, own, maps, rng)
    if not len(detectors):
        return []
    for last in (*[False] * (ROUNDS - 1), True):
        best, places, _ = space.likeness(own, detectors)
        carriers = best > _levels(best)
        groups = [space.at(own[carriers[:, k]], places[carriers[:, k], k]) for k in range(len(detectors))]
        plain = np.stack([_detector(group, 0.0) for group in groups])
        detectors = plain
        if last:  # a covariance of few pictures would lead astray
            detectors = np.concatenate(
                [plain, [_detector(group, len(group) / (len(group) + len(group[0]))) for group in groups]]
            )
    best, places, extents = space.likeness(own, detectors)
    elsewhere = space.likeness(others, detectors)[0] if len(others) else np.zeros((0, len(detectors)))
    relative = _nearby(maps)
    found = [_mark(best[:, k], places[:, k], extents[:, k], elsewhere[:, k], relative) for k in range(len(detectors))]
    return [mark for mark in found if mark is not None]


def _beginnings(space: Space, own: Labels, maps: Halves, rng: np.random.Generator) -> Array:
    """Means (K, D) of groups of strong places, on all levels of Ward's tree."""
    from scipy.cluster.hierarchy import linkage

    who, where = [], []
    for row, grid in enumerate(maps):
        for place in strongest(grid):
            if grid.flat[place] >= STRONG * grid.max():
                who.append(row)
                where.append(place)
    chosen = np.arange(len(who))
    if len(chosen) > BEGUN:
        chosen = np.sort(rng.choice(chosen, BEGUN, replace=False))
    rows, cells = np.array(who, np.int64)[chosen], np.array(where, np.int64)[chosen]
    if len(rows) < FEWEST:
        return np.zeros((0, 0))
    points = space.at(own[rows], cells)
    groups: list[list[int]] = [[i] for i in range(len(points))]
    detectors = []
    pictures = len(np.unique(rows))
    for first, second, *_ in linkage(points, "ward"):
        groups.append(groups[int(first)] + groups[int(second)])
        count = len(np.unique(rows[groups[-1]]))
        if max(FEWEST, SMALLEST * pictures) <= count <= BEGINNING * pictures:
            detectors.append(_detector(points[groups[-1]], 0.0))
    return np.array(detectors)


def _detector(points: Array, tight: float) -> Array:
    """The direction (D,) that tells points (n, D) of a group from all places, at which the group's mean is 1.

    Args:
        points: of the group.
        tight: weight of the group's own covariance beside that of all places: what is the same in all of it counts for
            more.
    """
    mean = points.mean(0)
    centred = points - mean
    within = tight * (centred.T @ centred) / len(points) + (1 - tight) * np.eye(len(mean))
    direction = np.linalg.solve(within, mean)
    return np.asarray(direction / max(float(direction @ mean), 1e-12))


def _nearby(maps: Halves) -> Array:
    """The strongest evidence at each place and beside it, (n, h w), as a share of the map's maximum."""
    padded = np.pad(maps.astype(np.float64), ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = maps.shape[1:]
    shifted = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    strongest_near = np.max(shifted, axis=0).reshape(len(maps), -1)
    return np.asarray(strongest_near / np.maximum(strongest_near.max(1, keepdims=True), 1e-12))


def _levels(best: Array) -> Array:
    """For each detector (n, K) the level that parts the pictures best in two (Otsu 1979)."""
    ordered = np.sort(best, 0)
    n = len(ordered)
    below = np.arange(1, n)[:, None]
    sums = np.cumsum(ordered, 0)
    means, rest = sums[:-1] / below, (sums[-1] - sums[:-1]) / (n - below)
    at = np.argmax(below * (n - below) * (means - rest) ** 2, 0)
    columns = np.arange(best.shape[1])
    return np.asarray((ordered[at, columns] + ordered[at + 1, columns]) / 2)


def _mark(best: Array, places: Labels, extents: Array, elsewhere: Array, relative: Array) -> Mark | None:
    level = float(_levels(best[:, None])[0])
    carriers = best > level
    if not carriers.any() or carriers.all():
        return None
    with_it, without = float(best[carriers].mean()), float(best[~carriers].mean())
    distance = max(with_it - without, 1e-12)
    background = np.concatenate([best[~carriers], elsewhere])
    gap = (np.quantile(best[carriers], 0.05) - np.quantile(background, 0.98)) / distance
    all_of_them = (np.concatenate([best, elsewhere]) - without) / distance
    between = float((np.abs(all_of_them - 0.5) < 0.15).sum() / carriers.sum())
    return Mark(
        carriers=carriers,
        places=places,
        likeness=best / max(with_it, 1e-12),
        gap=float(gap),
        between=between,
        elsewhere=float((elsewhere > level).mean()) if len(elsewhere) else 0.0,
        used=_used(relative[carriers] >= STRONG, places[carriers]),
        extent=float(np.median(extents[carriers])),
    )


def _used(strong: Flags, places: Labels) -> float:
    """The share of places (n,) with evidence beyond that of all places, given where there is evidence, (n, h w)."""
    hits, chance = float(strong[np.arange(len(strong)), places].mean()), float(strong.mean())
    error = (chance * (1 - chance) / len(strong)) ** 0.5
    return (hits - chance) / max(1 - chance, 1e-12) if hits - chance > 2 * error else 0.0


def _apart(marks: Sequence[Mark]) -> list[Mark]:
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.between - mark.gap):
        shared = [(mark.carriers & other.carriers).sum() / (mark.carriers | other.carriers).sum() for other in kept]
        if not shared or max(shared) < SAME:
            kept.append(mark)
    return kept
