"""The clusters of a class: marks that some of its pictures carry, and kinds of evidence among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedgeseg.audit.clusters import FEWEST, distance, divide
from hedgeseg.audit.evidence import Evidence, Half
from hedgeseg.audit.marks import SHRINKAGES, Mark, Space, find_marks
from hedgeseg.audit.places import is_near, strongest

APART = 0.5
"""Clusters nearer to each other than this share of the distance between classes are one."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Explanations of one class that rest on the same thing.

    Attributes:
        class_index: the class.
        number: within the class; 0 is the largest.
        members: positions in the list of evidence.
        accuracy: share of them that the network is right about.
        purity: see `clusters.Division`; NaN for a mark.
        tightness: see `clusters.Division`; NaN for a mark.
        distinct: distance from the rest of the class over that of other classes from it; NaN without a rest.
        gap: see `marks.Mark`; NaN for a cluster that is none.
        splits: members per split.
        removal_drop: mean drop of the class's probability when its evidence is painted over, that of a mark at the
            places where it is used; NaN if not measured.
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
    gap: float
    splits: Mapping[str, int]
    removal_drop: float
    control_drop: float
    mean_map: npt.NDArray[np.float64]
    flagged: bool
    reasons: tuple[str, ...]


class Pictures:
    """What is seen in all pictures, each once."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._evidence = evidence
        rows: dict[tuple[str, str], int] = {}
        views: list[Half] = []
        for entry in evidence:
            if (entry.split, entry.id) not in rows:
                rows[entry.split, entry.id] = len(views)
                views.append(entry.view)
        self._of = np.array([rows[entry.split, entry.id] for entry in evidence], np.int64)
        shapes = {(entry.view.shape, entry.map.shape) for entry in evidence}
        # Of pictures smaller than the grid the places differ.
        alike = len(shapes) == 1
        self._spaces = [Space(np.stack(views), shrinkage) for shrinkage in SHRINKAGES] if alike else []

    def marks(self, rows: Sequence[int], seed: int) -> list[Mark]:
        """Marks on the pictures of a class, given its rows in the evidence."""
        if not self._spaces or len(rows) < FEWEST:
            return []
        own = self._of[list(rows)]
        others = np.setdiff1d(self._of, own)
        return find_marks(self._spaces, own, others, np.stack([self._evidence[i].map for i in rows]), seed)


def clusters_of(
    evidence: Sequence[Evidence], index: int, rows: Sequence[int], scale: float, marks: Sequence[Mark], seed: int
) -> list[Cluster]:
    """Marks, and clusters of what carries none."""
    entries = [evidence[i] for i in rows]
    means = np.stack([entry.mean for entry in entries]).astype(np.float64)
    peaks = np.stack([entry.peaks for entry in entries]).astype(np.float64)
    division = divide(means, peaks, APART * scale, seed)
    free = ~np.any([mark.carriers for mark in marks], axis=0) if marks else np.ones(len(rows), bool)
    clusters: list[Cluster] = []
    for number in range(int(division.labels.max()) + 1):
        own = division.labels == number
        if (own & free).any():
            ordinary = {
                "purity": division.purity[number],
                "tightness": division.tightness[number],
                "distinct": _distinct(means, own, scale),
            }
            drops = [entry.numbers.get("removal_drop", math.nan) for entry in entries]
            clusters.append(_cluster(entries, rows, own & free, (index, len(clusters)), drops, ordinary, ()))
    for mark in marks:
        numbers = {"gap": mark.gap, "distinct": _distinct(means, mark.carriers, scale)}
        drops = [_drop_at(entry, place) for entry, place in zip(entries, mark.places.tolist(), strict=True)]
        reasons = _reasons(entries, mark)
        clusters.append(_cluster(entries, rows, mark.carriers, (index, len(clusters)), drops, numbers, reasons))
    return clusters


def _distinct(means: npt.NDArray[np.float64], own: npt.NDArray[np.bool_], scale: float) -> float:
    return math.nan if own.all() else distance(means[own], means[~own]) / scale


def _cluster(
    entries: Sequence[Evidence],
    rows: Sequence[int],
    own: npt.NDArray[np.bool_],
    name: tuple[int, int],
    drops: Sequence[float],
    numbers: Mapping[str, float],
    reasons: Sequence[str],
) -> Cluster:
    members = np.flatnonzero(own).tolist()
    inside = [entries[i] for i in members]
    splits: dict[str, int] = {}
    for entry in inside:
        splits[entry.split] = splits.get(entry.split, 0) + 1
    return Cluster(
        class_index=name[0],
        number=name[1],
        members=tuple(rows[i] for i in members),
        accuracy=mean([float(entry.correct) for entry in inside]),
        purity=numbers.get("purity", math.nan),
        tightness=numbers.get("tightness", math.nan),
        distinct=numbers["distinct"],
        gap=numbers.get("gap", math.nan),
        splits=splits,
        removal_drop=mean([drops[i] for i in members]),
        control_drop=mean([entry.numbers.get("control_drop", math.nan) for entry in inside]),
        mean_map=np.mean([np.asarray(entry.map, np.float64) for entry in inside], axis=0),
        flagged=bool(reasons),
        reasons=tuple(reasons),
    )


def _drop_at(entry: Evidence, place: int) -> float:
    """The drop at the strongest place that is near one; NaN if none of them is."""
    for cell, drop in zip(strongest(entry.map).tolist(), entry.drops.tolist(), strict=False):
        if is_near(cell, place, entry.map.shape[1]):
            return float(drop)
    return math.nan


def _reasons(entries: Sequence[Evidence], mark: Mark) -> list[str]:
    """Why a mark stands out."""
    inside = [entry for entry, carries in zip(entries, mark.carriers, strict=True) if carries]
    rest = [entry for entry, carries in zip(entries, mark.carriers, strict=True) if not carries]
    accuracy, others = (mean([float(entry.correct) for entry in some]) for some in (inside, rest))
    reasons = [
        f"{len(inside)} of {len(entries)} pictures of the class carry something that looks alike; the others do not: "
        f"between the two is a gap of {mark.gap:.0%} of their distance",
        f"{mark.elsewhere:.1%} of the pictures without the class carry it",
        f"the network has evidence for the class there more often than elsewhere, by {mark.used:.0%} of what could be",
        f"{accuracy:.1%} of those that carry it are recognised, {others:.1%} of the rest",
    ]
    absent = sorted({entry.split for entry in entries} - {entry.split for entry in inside})
    if absent:
        reasons.append(f"none of its images is in {', '.join(absent)}")
    return reasons


def mean(values: Sequence[float]) -> float:
    """Of the values that are defined; NaN without any."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
