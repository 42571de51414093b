"""From the evidence of a data set to findings: clusters that stand out, images to look at first, numbers per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgeseg.audit.clusters import Division, distance, divide
from hedgeseg.audit.evidence import Evidence

SMALLEST, LARGEST = 0.03, 0.5
"""Shares of a class between which a cluster may be suspicious: less is chance, more is the class itself."""

FEWEST = 6
"""Images that a suspicious cluster has at least."""

PURE = 0.85
"""Share of the nearest neighbours that a suspicious cluster keeps to itself."""

DISTINCT = 0.6
"""How far a suspicious cluster lies from the rest of its class at least, as a share of how far other classes lie."""

APART = 0.5
"""Clusters nearer to each other than this share are one."""

BETWEEN_CLASSES = 0.5
"""Cosine distance that stands for that between classes where there is only one."""

RECOGNISED = 0.9
"""Share of a suspicious cluster that the network recognises: evidence that does not help misleads nobody."""

UNUSUAL = 3.5
"""Robust z-score beyond which an image's number is named."""

UNUSUAL_HIGH = {"border": "on the border", "corners": "in the corners"}
UNUSUAL_LOW = {"mirror": "agreement with the mirrored image"}


@dataclass(frozen=True, eq=False)
class Cluster:
    """Explanations of one class that rest on the same thing.

    Attributes:
        class_index: the class.
        number: within the class; 0 is the largest.
        members: positions in the list of evidence.
        accuracy: share of them that the network is right about.
        purity: see `clusters.Division`.
        tightness: see `clusters.Division`.
        distinct: distance from the rest of the class over that of other classes from it; NaN without a rest.
        splits: members per split.
        removal_drop: mean drop of the class's probability when its evidence is painted over; NaN if not measured.
        control_drop: the same for a region of equal shape elsewhere.
        mean_map: pooled maps' mean, (G, G).
        flagged: whether it stands out.
        reasons: why, in words.
    """

    class_index: int
    number: int
    members: tuple[int, ...]
    accuracy: float
    purity: float
    tightness: float
    distinct: float
    splits: Mapping[str, int]
    removal_drop: float
    control_drop: float
    mean_map: npt.NDArray[np.float64]
    flagged: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found.

    Attributes:
        evidence: as it was given.
        clusters: flagged ones first, then by class and size.
        cluster_of: for each piece of evidence the number of its cluster within its class.
        reasons: for each piece of evidence, why it should be looked at; mostly none.
        order: positions in `evidence`, the most suspicious first.
        per_class: means of the numbers by class index, with `images` and `accuracy`.
        overall: the same over all.
    """

    evidence: Sequence[Evidence]
    clusters: Sequence[Cluster]
    cluster_of: Sequence[int]
    reasons: Sequence[tuple[str, ...]]
    order: Sequence[int]
    per_class: Mapping[int, Mapping[str, float]]
    overall: Mapping[str, float]


def find(evidence: Sequence[Evidence], seed: int = 0) -> Findings:
    """Look through the evidence of a data set.

    Args:
        evidence: of all splits.
        seed: of k-means.

    Raises:
        ImportError: scikit-learn is missing.
    """
    classes = sorted({entry.class_index for entry in evidence})
    cluster_of = [0] * len(evidence)
    clusters: list[Cluster] = []
    means = {
        index: np.stack([entry.mean for entry in evidence if entry.class_index == index]).astype(np.float64)
        for index in classes
    }
    scores = np.zeros(len(evidence))
    reasons: list[list[str]] = [[] for _ in evidence]
    for index in classes:
        rows = [i for i, entry in enumerate(evidence) if entry.class_index == index]
        others = [distance(means[index], means[other]) for other in classes if other != index]
        scale = float(np.median(others)) if others else BETWEEN_CLASSES
        found = _clusters([evidence[i] for i in rows], index, rows, scale, seed)
        clusters += found
        for cluster in sorted(found, key=lambda c: (c.flagged, -len(c.members))):  # flagged ones have the last word
            for i in cluster.members:
                cluster_of[i] = cluster.number
        for cluster in found:
            if cluster.flagged:
                for i in cluster.members:
                    reasons[i].append(f"rests on what cluster {cluster.number} of its class rests on")
                    scores[i] += 10
        _unusual([evidence[i] for i in rows], rows, reasons, scores)
    for i, entry in enumerate(evidence):
        if entry.numbers.get("pointing") == 0:
            reasons[i].append("its strongest evidence is off the object")
            scores[i] += 1
        if not entry.correct:
            scores[i] -= 0.5  # that the network misses a class is no secret; what it is sure of for no reason is
    clusters.sort(key=lambda c: (not c.flagged, c.class_index, c.number))
    order = sorted(range(len(evidence)), key=lambda i: (-scores[i], evidence[i].key))
    per_class = {index: _means([e for e in evidence if e.class_index == index]) for index in classes}
    return Findings(evidence, clusters, cluster_of, [tuple(r) for r in reasons], order, per_class, _means(evidence))


def _clusters(entries: Sequence[Evidence], index: int, rows: Sequence[int], scale: float, seed: int) -> list[Cluster]:
    means = np.stack([entry.mean for entry in entries]).astype(np.float64)
    peaks = np.stack([entry.peaks for entry in entries]).astype(np.float64)
    division = divide(means, peaks, APART * scale, seed)
    clusters = []
    for number in range(int(division.labels.max()) + 1):
        own = division.labels == number
        distinct = math.nan if own.all() else distance(means[own], means[~own]) / scale
        clusters.append(_cluster(entries, index, rows, division, number, distinct))
    return clusters


def _cluster(
    entries: Sequence[Evidence],
    index: int,
    rows: Sequence[int],
    division: Division,
    number: int,
    distinct: float,
) -> Cluster:
    reasons = _reasons(entries, division, number, distinct)
    # Of a cluster that stands out, also the images that carry its evidence beside other.
    members = np.flatnonzero(division.carried[number] if reasons else division.labels == number).tolist()
    inside = [entries[i] for i in members]
    splits: dict[str, int] = {}
    for entry in inside:
        splits[entry.split] = splits.get(entry.split, 0) + 1
    return Cluster(
        class_index=index,
        number=number,
        members=tuple(rows[i] for i in members),
        accuracy=_mean([float(entry.correct) for entry in inside]),
        purity=division.purity[number],
        tightness=division.tightness[number],
        distinct=distinct,
        splits=splits,
        removal_drop=_mean([entry.numbers.get("removal_drop", math.nan) for entry in inside]),
        control_drop=_mean([entry.numbers.get("control_drop", math.nan) for entry in inside]),
        mean_map=np.mean([np.asarray(entry.map, np.float64) for entry in inside], axis=0),
        flagged=bool(reasons),
        reasons=tuple(reasons),
    )


def _reasons(entries: Sequence[Evidence], division: Division, number: int, distinct: float) -> list[str]:
    """Why a cluster stands out; none if it does not."""
    own = division.labels == number
    size, share = int(own.sum()), float(own.mean())
    purity = division.purity[number]
    accuracy = _mean([float(e.correct) for e, inside in zip(entries, own, strict=True) if inside])
    rest = _mean([float(e.correct) for e, inside in zip(entries, own, strict=True) if not inside])
    stands_out = (
        size >= FEWEST
        and SMALLEST <= share <= LARGEST
        and purity >= PURE
        and distinct >= DISTINCT
        and accuracy >= max(RECOGNISED, rest)
    )
    if not stands_out:
        return []
    reasons = [
        f"{purity:.0%} of its images' nearest neighbours are among them: it lies apart from the class",
        f"what it rests on is as far from the rest of the class as {distinct:.0%} of the way to another class",
        f"{share:.0%} of the class, {accuracy:.1%} of it recognised ({rest:.1%} of the rest)",
    ]
    splits = {entry.split for entry in entries}
    inside = {entry.split for entry, member in zip(entries, own, strict=True) if member}
    absent = sorted(splits - inside)
    if absent:
        reasons.append(f"none of its images is in {', '.join(absent)}")
    return reasons


def _unusual(
    entries: Sequence[Evidence], rows: Sequence[int], reasons: Sequence[list[str]], scores: npt.NDArray[np.float64]
) -> None:
    """Name the numbers of images that are far from those of their class."""
    for name, words in (*UNUSUAL_HIGH.items(), *UNUSUAL_LOW.items()):
        values = np.array([entry.numbers.get(name, math.nan) for entry in entries])
        known = values[np.isfinite(values)]
        if len(known) < 10:
            continue
        middle = float(np.median(known))
        spread = 1.4826 * float(np.median(np.abs(known - middle)))
        if spread <= 0:
            continue
        z = (values - middle) / spread * (1 if name in UNUSUAL_HIGH else -1)
        for row, value, far in zip(rows, values, z, strict=True):
            if far > UNUSUAL:
                said = f"{value:.0%} of its evidence {words}" if name in UNUSUAL_HIGH else f"{words} {value:.2f}"
                reasons[row].append(f"{said} (median of the class {middle:.2f})")
                scores[row] += min(3.0, far / UNUSUAL)


def _means(entries: Sequence[Evidence]) -> dict[str, float]:
    names = sorted({name for entry in entries for name in entry.numbers})
    means = {name: _mean([entry.numbers.get(name, math.nan) for entry in entries]) for name in names}
    return {
        "images": float(len(entries)),
        "accuracy": _mean([float(entry.correct) for entry in entries]),
        **{name: value for name, value in means.items() if math.isfinite(value)},
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
