"""One method's records, summed up: means with intervals, and mean curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hedgeseg.evaluation.columns import pair_column, value_columns, value_names
from hedgeseg.evaluation.journal import Record, read_records, read_runs
from hedgeseg.evaluation.method_run import MethodRun
from hedgeseg.evaluation.pooled import POOLED
from hedgeseg.evaluation.seed_quality import best_parts, miou_interval, pooled_curve
from hedgeseg.metrics import Interval, confidence_interval, ratio_interval
from hedgeseg.metrics.evaluation import intervals
from hedgeseg.metrics.resampling import pooled_interval

RATIOS = {
    "outside_inside_ratio_of_means": ("outside_mean", "inside_mean"),
    "outside_inside_ratio_positive_of_means": ("outside_positive_mean", "inside_positive_mean"),
}
"""Ratios of two means: single maps whose ratio has no bound do not decide them."""


@dataclass(frozen=True, eq=False)
class Summary:
    """What a method scored.

    Attributes:
        run: the method.
        records: what was summed up.
        values: means by name, with their 95 % intervals over images.
        counts: number of maps (images for `miou`, pairs for class discrimination) each mean is taken over.
        curves: mean curves by name; of the seeds `thresholds`, `miou`, `precision`, `recall` and `coverage`.
    """

    run: MethodRun
    records: tuple[Record, ...]
    values: dict[str, Interval]
    counts: dict[str, int]
    curves: dict[str, list[float]]

    @property
    def maps(self) -> int:
        """Number of maps."""
        return sum(len(record.classes) for record in self.records)

    @property
    def broken(self) -> int:
        """Number of maps that hold NaN or infinity, and so have no values."""
        return sum(len(record.classes) for record in self.records if not record.values)

    @property
    def seconds(self) -> float:
        """Seconds per map: the median over images, which a busy machine disturbs least."""
        each = sorted(r.seconds / len(r.classes) for r in self.records)
        return each[len(each) // 2] if each else math.nan

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "label": self.run.label,
            **self.run.settings,
            "images": len(self.records),
            "maps": self.maps,
            "broken": self.broken,
            "seconds_per_map": self.seconds,
            "values": {
                name: {"mean": i.mean, "low": i.low, "high": i.high, "n": self.counts[name]}
                for name, i in self.values.items()
            },
            "curves": self.curves,
        }


def read_summaries(folder: Path, num_classes: int, bins: int, resamples: int = 1000) -> list[Summary]:
    """Sum up every method that a folder has journals of, in the order in which they were begun."""
    return [
        summarize_run(run, read_records(folder, run.key), num_classes, bins, resamples) for run in read_runs(folder)
    ]


def summarize_run(
    run: MethodRun, records: Sequence[Record], num_classes: int, bins: int, resamples: int = 1000
) -> Summary:
    """Sum up the records of one method.

    Args:
        run: the method.
        records: one per image.
        num_classes: of the data.
        bins: thresholds of the seed curve.
        resamples: of the bootstrap.
    """
    curves: dict[str, list[float]] = {}
    columns, classes, owners = value_columns(records)
    values = intervals(columns, classes, owners, resamples=resamples)
    counts = {name: int((~columns[name.removesuffix("_micro")].isnan()).sum()) for name in values}
    for name, (over, under) in RATIOS.items():
        if over in values and under in values:
            values[name] = ratio_interval(columns[over], columns[under], owners, resamples=resamples)
            counts[name] = counts[over]
    for name in value_names(record.pairs for record in records):
        column, images = pair_column(records, name)
        values[name] = confidence_interval(column, images, resamples=resamples)
        counts[name] = int((~column.isnan()).sum())
    for name in value_names(record.curves for record in records):
        rows = torch.tensor([row for r in records for row in r.curves.get(name, ())], dtype=torch.float64)
        curves[name] = rows.nanmean(0).tolist()
    for name, metric in POOLED.items():
        notes = [record.pooled[name] for record in records if name in record.pooled]
        if notes:
            values[name] = pooled_interval(metric.statistic(notes), len(notes), resamples=resamples)
            counts[name] = sum(metric.maps(note) for note in notes)
    seeds = [record.seed for record in records if record.seed[0]]
    if seeds:
        curve = pooled_curve(seeds, num_classes, bins)
        curves |= {k: curve[k].tolist() for k in ("thresholds", "miou", "precision", "recall", "coverage")}
        parts = best_parts(seeds, num_classes, bins)
        low, high = miou_interval(parts, resamples)
        values["miou"] = Interval(float(curve["miou_best"]), low, high)
        best = float(curve["threshold_best"])
        values["miou_threshold"] = Interval(best, best, best)
        counts["miou"] = counts["miou_threshold"] = len(seeds)
    return Summary(run, tuple(records), values, counts, curves)
