"""The numbers of a look: localisation, drift and discrimination, per map and reduced over all processes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from hedgeseg.callbacks.drift import pooled
from hedgeseg.callbacks.explanations import Explanation
from hedgeseg.metrics import (
    OutsideInsideRatio,
    PointingGame,
    PositiveRatio,
    outside_inside_ratios,
    pointing_hits,
    positive_ratios,
    spearman,
    target_pairs,
)

TOLERANCE = 15 / 375
"""The pointing game's 15 px on the 375 px short side of a VOC image, as a share of the short side."""


@dataclass(frozen=True)
class Score:
    """What is known about one map.

    Attributes:
        hit: whether its strongest pixel is on the object (the pointing game); None without mask or boxes of the class.
        outside_inside: Eq. 14; None likewise.
        drift: 1 - Spearman correlation with the map of the look before; None without one.
    """

    hit: bool | None = None
    outside_inside: float | None = None
    drift: float | None = None


@dataclass(frozen=True, eq=False)
class Finding:
    """An explained image and what its maps are worth.

    Attributes:
        explanation: the image and its maps.
        values: `(T,)` by the names of the metrics' values, NaN where a value is not defined.
        scores: one per map.
    """

    explanation: Explanation
    values: Mapping[str, Tensor]
    scores: Sequence[Score]


def find(explanation: Explanation, drifts: Sequence[float | None]) -> Finding:
    """Score each map of an explanation."""
    maps, example = explanation.maps, explanation.example
    regions = [example.region(index) for index in explanation.classes]
    masks = torch.stack([torch.zeros(maps.shape[1:], dtype=torch.bool) if r is None else r for r in regions])
    valid = example.valid.expand_as(masks)
    values = {
        "positive_ratio": positive_ratios(maps, valid),
        "pointing_game": pointing_hits(maps, masks, TOLERANCE * min(maps.shape[1:]), valid),
        **outside_inside_ratios(maps, masks, valid),
    }
    hits, ratios = values["pointing_game"].tolist(), values["outside_inside_ratio"].tolist()
    scores = [
        Score(None if math.isnan(hit) else bool(hit), None if math.isnan(ratio) else ratio, drift)
        for hit, ratio, drift in zip(hits, ratios, drifts, strict=True)
    ]
    return Finding(explanation, values, scores)


def numbers(
    findings: Sequence[Finding], strategy: Strategy, further: Mapping[str, Sequence[float]] | None = None
) -> dict[str, float]:
    """The metrics of one loader over all processes, by name; those that are not defined are left out.

    Must be called on every process, also on one that found nothing: it synchronises.

    Args:
        findings: of this process.
        strategy: reduces over the processes.
        further: columns to take the mean of, the same names on every process.
    """
    classes = max((f.explanation.num_classes for f in findings), default=0)
    # Processes have to agree on the size of the metrics' states before these synchronise.
    classes = int(strategy.reduce(torch.tensor(classes, device=strategy.root_device), reduce_op="max"))
    if classes == 0:
        return {}
    columns: dict[str, Sequence[float | None]] = {
        "drift": [s.drift for f in findings for s in f.scores],
        "class_discrimination": [value for f in findings for value in _discrimination(f.explanation)],
        **(further or {}),
    }
    images = torch.tensor(len(findings), device=strategy.root_device)
    result = {
        **_localisation(findings, classes, strategy.root_device),
        **_means(columns, strategy),
        "images": float(strategy.reduce(images, reduce_op="sum")),
    }
    return {name: value for name, value in result.items() if math.isfinite(value)}


def _localisation(findings: Sequence[Finding], num_classes: int, device: torch.device) -> dict[str, float]:
    metrics = {
        "pointing_game": PointingGame(num_classes).to(device),
        "outside_inside": OutsideInsideRatio(num_classes).to(device),
        "positive_ratio": PositiveRatio(num_classes).to(device),
    }
    result = {}
    for name, metric in metrics.items():
        for finding in findings:
            undefined = torch.full((len(finding.scores),), math.nan)
            values = {value: finding.values.get(value, undefined) for value in metric.value_names}
            metric.add(values, finding.explanation.classes)
        with warnings.catch_warnings():
            # `add` fills the states without `update`, and a process may have no images: neither is worth a warning.
            warnings.simplefilter("ignore", UserWarning)
            result[name] = float(metric.compute()[metric.value_names[0]])
    return result


def _discrimination(explanation: Explanation) -> list[float]:
    """1 - Spearman correlation of the maps of every pair of the image's classes."""
    first, second = target_pairs(pooled(explanation.maps)[None])
    return (1 - spearman(first, second)).tolist()


def _means(columns: Mapping[str, Sequence[float | None]], strategy: Strategy) -> dict[str, float]:
    """Mean of each column over all processes; None and NaN are left out."""
    known = {name: [v for v in values if v is not None and not math.isnan(v)] for name, values in columns.items()}
    sums = torch.tensor([[sum(v), len(v)] for v in known.values()], dtype=torch.float32, device=strategy.root_device)
    sums = strategy.reduce(sums, reduce_op="sum").cpu()
    return {name: float(total / count) for name, (total, count) in zip(known, sums, strict=True) if count > 0}
