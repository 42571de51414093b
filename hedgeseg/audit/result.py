"""The findings of an audit as `audit.json` holds them, and what changed between two audits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.audit.evidence import Evidence
from hedgeseg.audit.findings import Findings
from hedgeseg.class_names import ClassNames
from hedgeseg.seeds.formats.files import replacing

RESULT = "audit.json"


def as_json(findings: Findings, classes: Sequence[str]) -> dict[str, Any]:
    """Findings as plain lists and dicts; what is not defined is null.

    Args:
        findings: of an audit.
        classes: names by index; an index beyond them is named by its number.

    Returns:
        `images` (most suspicious first: id, split, class, probability, correct, the numbers, `cluster`, `reasons`),
        `clusters` (flagged first: class, cluster, size, accuracy, purity, tightness, distinct, gap, splits,
        removal_drop, control_drop, `flagged`, `reasons`, `images`), `classes` and `overall` (means of the numbers).
    """
    names = ClassNames(tuple(classes))
    images = [
        {
            "id": entry.id,
            "split": entry.split,
            "class": names[entry.class_index],
            "probability": entry.probability,
            "correct": entry.correct,
            **entry.numbers,
            "cluster": findings.cluster_of[i],
            "reasons": list(findings.reasons[i]),
        }
        for i, entry in ((i, findings.evidence[i]) for i in findings.order)
    ]
    clusters = [
        {
            "class": names[cluster.class_index],
            "cluster": cluster.number,
            "size": len(cluster.members),
            "accuracy": cluster.accuracy,
            "purity": cluster.purity,
            "tightness": cluster.tightness,
            "distinct": cluster.distinct,
            "gap": cluster.gap,
            "splits": dict(cluster.splits),
            "removal_drop": cluster.removal_drop,
            "control_drop": cluster.control_drop,
            "flagged": cluster.flagged,
            "reasons": list(cluster.reasons),
            "images": [findings.evidence[i].id for i in cluster.members],
        }
        for cluster in findings.clusters
    ]
    per_class = {names[index]: dict(numbers) for index, numbers in findings.per_class.items()}
    return _plain({"images": images, "clusters": clusters, "classes": per_class, "overall": dict(findings.overall)})


def write_result(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write `audit.json` whole or not at all."""
    path = folder / RESULT
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def changes(now: Sequence[Evidence], before: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Which explanations moved between two networks.

    Args:
        now: the evidence of one network.
        before: that of the other, of the same data.

    Returns:
        One entry per explanation that both have, the most changed first: id, split, class_index, `moved` (1 - the
        correlation of the pooled maps, in [0, 2]), and the probabilities `probability` and `probability_before`.

    Raises:
        ValueError: they have no image in common.
    """
    earlier = {entry.key: entry for entry in before}
    both = [(entry, earlier[entry.key]) for entry in now if entry.key in earlier]
    if not both:
        raise ValueError("the two audits have no image and class in common: were they made of the same data?")
    rows = [
        {
            "id": entry.id,
            "split": entry.split,
            "class_index": entry.class_index,
            "moved": 1 - _correlation(entry, other),
            "probability": entry.probability,
            "probability_before": other.probability,
        }
        for entry, other in both
    ]
    return sorted(rows, key=lambda row: (-row["moved"], row["id"], row["class_index"]))


def _correlation(first: Evidence, second: Evidence) -> float:
    a, b = (np.asarray(entry.map, np.float64).ravel() for entry in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
