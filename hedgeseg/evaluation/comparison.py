"""Two methods compared on the maps that both have made."""

from __future__ import annotations

from collections.abc import Collection

import torch

from hedgeseg.evaluation.columns import pair_column, value_columns, value_names
from hedgeseg.evaluation.journal import Record
from hedgeseg.evaluation.pooled import POOLED
from hedgeseg.evaluation.seed_quality import best_parts, compare_miou
from hedgeseg.evaluation.summary import Summary
from hedgeseg.metrics import Comparison, compare, compare_scores
from hedgeseg.metrics.resampling import compare_pooled


def compare_summaries(
    first: Summary,
    second: Summary,
    num_classes: int,
    bins: int,
    resamples: int = 1000,
    only: Collection[str] | None = None,
) -> dict[str, Comparison]:
    """First minus second, value by value, on the images whose same classes both explained.

    Args:
        first: of one method.
        second: of another.
        num_classes: of the data.
        bins: thresholds of the seed curve.
        resamples: of intervals and p-values, none of which is below 1 / (resamples + 1).
        only: these numbers; all without it.
    """

    def asked(name: str) -> bool:
        return only is None or name in only

    pairs = _shared(first, second)
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    (columns, classes, images), (others, _, _) = value_columns(ours), value_columns(theirs)
    missing = torch.full((len(images),), torch.nan, dtype=torch.float64)
    others = {name: others.get(name, missing) for name in columns if name in second.values and asked(name)}
    columns = {name: column for name, column in columns.items() if asked(name)}
    result = compare_scores(columns, others, classes, images, resamples=resamples)
    for name in filter(asked, value_names(record.pairs for record in ours)):
        both = [(a, b) for a, b in pairs if len(a.pairs.get(name, ())) == len(b.pairs.get(name, ()))]
        column, images = pair_column([a for a, _ in both], name)
        other, _ = pair_column([b for _, b in both], name)
        result[name] = compare(column, other, images, resamples=resamples)
    for name, metric in POOLED.items():
        if not asked(name):
            continue
        both = [(a, b) for a, b in pairs if name in a.pooled and name in b.pooled]
        if both:
            statistic = metric.statistic([row[side].pooled[name] for side in (0, 1) for row in both])
            result[name] = compare_pooled(statistic, len(both), resamples=resamples)
    seeds = [(a.seed, b.seed) for a, b in pairs if a.seed[0] and b.seed[0]]
    if seeds and asked("miou"):
        first_parts, second_parts = (best_parts([row[side] for row in seeds], num_classes, bins) for side in (0, 1))
        result["miou"] = compare_miou(first_parts, second_parts, resamples=resamples)
    return result


def _shared(first: Summary, second: Summary) -> list[tuple[Record, Record]]:
    """The records of the images that both have, in one order."""
    theirs = {record.id: record for record in second.records}
    return [
        (record, theirs[record.id])
        for record in sorted(first.records, key=lambda record: record.id)
        if record.id in theirs and theirs[record.id].classes == record.classes
    ]
