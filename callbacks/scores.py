"""The numbers of a look: localisation, drift and discrimination, per map and reduced over all processes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import Strategy

from hedgeseg.callbacks.agreement import class_discrimination, pooled
from hedgeseg.callbacks.explanations import Explanation
from hedgeseg.metrics import OutsideInsideRatio, PointingGame, PositiveRatio, outside_inside_ratios, pointing_hits

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
    """An explained image and one score per map."""

    explanation: Explanation
    scores: Sequence[Score]


def find(explanation: Explanation, drifts: Sequence[float | None]) -> Finding:
    """Score each map of an explanation."""
    scores = []
    for row, (index, drift) in enumerate(zip(explanation.classes, drifts, strict=True)):
        region = explanation.example.region(index)
        if region is None:
            scores.append(Score(drift=drift))
            continue
        pair, valid = (explanation.maps[row, None], region[None]), explanation.example.valid[None]
        hit = float(pointing_hits(*pair, tolerance=tolerance_of(explanation), valid=valid))
        ratio = float(outside_inside_ratios(*pair, valid=valid)["outside_inside_ratio"])
        scores.append(Score(bool(hit), ratio if math.isfinite(ratio) else None, drift))
    return Finding(explanation, scores)


def tolerance_of(explanation: Explanation) -> float:
    """The pointing game's tolerance in pixels of this image: the published one, scaled to the short side."""
    return TOLERANCE * min(explanation.maps.shape[-2:])


def numbers(findings: Sequence[Finding], strategy: Strategy) -> dict[str, float]:
    """The metrics of one loader over all processes, by name.

    Must be called on every process, also on one that found nothing: it synchronises.
    """
    regions = any(s.hit is not None for f in findings for s in f.scores)
    classes = max((f.explanation.num_classes for f in findings), default=0)
    # Whether there is anything to compute, and how large, has to be agreed on before the metrics synchronise.
    agreed = torch.tensor([classes, int(regions)], device=strategy.root_device)
    classes, with_regions = (int(v) for v in strategy.reduce(agreed, reduce_op="max"))
    if classes == 0:
        return {}
    explanations = [f.explanation for f in findings]
    result = _localisation(explanations, classes, bool(with_regions), strategy.root_device)
    columns: dict[str, list[float | None]] = {
        "drift": [s.drift for f in findings for s in f.scores],
        "class_discrimination": [class_discrimination(pooled(e.maps)) for e in explanations],
    }
    result |= _means(columns, strategy)
    images = torch.tensor(len(findings), device=strategy.root_device)
    result["images"] = float(strategy.reduce(images, reduce_op="sum"))
    return {name: value for name, value in result.items() if math.isfinite(value)}


def _localisation(
    explanations: Sequence[Explanation], num_classes: int, with_regions: bool, device: torch.device
) -> dict[str, float]:
    pointing, outside_inside = PointingGame(num_classes).to(device), OutsideInsideRatio(num_classes).to(device)
    positive = PositiveRatio(num_classes).to(device)
    for explanation in explanations:
        positive.update(explanation.maps, classes=torch.tensor(explanation.classes))
        pointing.tolerance = tolerance_of(explanation)
        for row, index in enumerate(explanation.classes):
            region = explanation.example.region(index)
            if region is not None:
                pair = (
                    explanation.maps[row, None],
                    region[None],
                    torch.tensor([index]),
                    explanation.example.valid[None],
                )
                pointing.update(*pair)
                outside_inside.update(*pair)
    with warnings.catch_warnings():
        # A process without images of its own computes before it updates; what counts is the sum over processes.
        warnings.simplefilter("ignore", UserWarning)
        result = {"positive_ratio": positive.compute()["positive_ratio"]}
        if with_regions:
            result["pointing_game"] = pointing.compute()["pointing_game"]
            result["outside_inside"] = outside_inside.compute()["outside_inside_ratio"]
    return {name: float(value) for name, value in result.items()}


def _means(columns: Mapping[str, Sequence[float | None]], strategy: Strategy) -> dict[str, float]:
    """Mean of each column over all processes; None and NaN are left out."""
    known = {name: [v for v in values if v is not None and not math.isnan(v)] for name, values in columns.items()}
    sums = torch.tensor([[sum(v), len(v)] for v in known.values()], dtype=torch.float32, device=strategy.root_device)
    sums = strategy.reduce(sums, reduce_op="sum").cpu()
    return {name: float(total / count) for name, (total, count) in zip(known, sums, strict=True) if count > 0}
