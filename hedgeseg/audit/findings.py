"""From the evidence of a data set to findings: clusters that stand out, images to look at first, numbers per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgeseg.audit.clusters import distance
from hedgeseg.audit.evidence import Evidence
from hedgeseg.audit.groups import Cluster, Pictures, clusters_of, mean

BETWEEN_CLASSES = 0.5
"""Cosine distance that stands for that between classes where there is only one."""

UNUSUAL = 3.5
"""Robust z-score beyond which an image's number is named."""

UNUSUAL_HIGH = {"border": "on the border", "corners": "in the corners"}
UNUSUAL_LOW = {"mirror": "agreement with the mirrored image"}


@dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found.

    Attributes:
        evidence: as it was given.
        clusters: flagged ones first, the clearest first, then by class and size.
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
    pictures = Pictures(evidence)
    scores = np.zeros(len(evidence))
    reasons: list[list[str]] = [[] for _ in evidence]
    for index in classes:
        rows = [i for i, entry in enumerate(evidence) if entry.class_index == index]
        others = [distance(means[index], means[other]) for other in classes if other != index]
        scale = float(np.median(others)) if others else BETWEEN_CLASSES
        found = clusters_of(evidence, index, rows, scale, pictures.marks(rows, seed), seed)
        clusters += found
        for cluster in sorted(found, key=lambda c: (c.flagged, -len(c.members))):  # flagged ones have the last word
            for i in cluster.members:
                cluster_of[i] = cluster.number
        for cluster in found:
            if cluster.flagged:
                for i in cluster.members:
                    reasons[i].append(f"carries what cluster {cluster.number} of its class carries")
                    scores[i] += 10
        _unusual([evidence[i] for i in rows], rows, reasons, scores)
    for i, entry in enumerate(evidence):
        if entry.numbers.get("pointing") == 0:
            reasons[i].append("its strongest evidence is off the object")
            scores[i] += 1
        if not entry.correct:
            scores[i] -= 0.5  # that the network misses a class is no secret; what it is sure of for no reason is
    clusters.sort(key=lambda c: (not c.flagged, -c.gap if c.flagged else 0.0, c.class_index, c.number))
    order = sorted(range(len(evidence)), key=lambda i: (-scores[i], evidence[i].key))
    per_class = {index: _means([e for e in evidence if e.class_index == index]) for index in classes}
    return Findings(evidence, clusters, cluster_of, [tuple(r) for r in reasons], order, per_class, _means(evidence))


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
    means = {name: mean([entry.numbers.get(name, math.nan) for entry in entries]) for name in names}
    return {
        "images": float(len(entries)),
        "accuracy": mean([float(entry.correct) for entry in entries]),
        **{name: value for name, value in means.items() if math.isfinite(value)},
    }
