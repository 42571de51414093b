"""Summaries and comparisons as tables: markdown to read, CSV to compute with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from hedgeseg.evaluation.summary import Summary
from hedgeseg.metrics import Comparison, Interval
from hedgeseg.seeds.table import markdown

COLUMNS: dict[str, str] = {
    "pointing_game": "PG",
    "pointing_game_difficult": "PG difficult",
    "pointing_game_predicted": "PG predicted",
    "pointing_game_difficult_predicted": "PG difficult predicted",
    "pixel_average_precision": "AP",
    "pixel_average_precision_two_channel": "AP two-channel",
    "rank_accuracy": "rank accuracy",
    "outside_inside_ratio": "O/I",
    "positive_ratio": "PR",
    "miou": "seed mIoU",
    "region_insertion": "insertion of regions",
    "deletion": "deletion",
    "insertion": "insertion",
    "class_discrimination": "class discrimination",
    "randomization_sanity": "sanity: Spearman",
    "randomization_sanity_efficient_mprt": "sanity: eMPRT",
}
"""Values in the order of the tables' columns, and what a column is called."""


def summary_table(summaries: Sequence[Summary], intervals: bool = True) -> str:
    """Markdown table with one row per method: means with their intervals, number of maps, seconds per map.

    A column whose values all equal another's (a subset that is everything) is left out.
    """
    shown = _shown(summaries)
    header = ["method", "n", *(COLUMNS[name] for name in shown), "s/map"]
    body = [
        [
            summary.run.label,
            str(summary.maps) + (f" ({summary.broken} not finite)" if summary.broken else ""),
            *(_cell(summary.values.get(name), intervals) for name in shown),
            f"{summary.seconds:.2f}",
        ]
        for summary in summaries
    ]
    return markdown(header, body)


def comparison_table(comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]]) -> str:
    """Markdown table with one row per compared pair: first minus second on the maps of both, and the p-value."""
    names = [name for name in COLUMNS if any(name in row for row in comparisons.values())]
    body = [
        [f"{first} - {second}", *(_difference(row.get(name)) for name in names)]
        for (first, second), row in comparisons.items()
    ]
    return markdown(["difference", *(COLUMNS[name] for name in names)], body)


def summary_csv(summaries: Sequence[Summary]) -> str:
    """One line per method and value: method, value, mean, low, high, n."""
    rows = [
        [summary.run.label, name, *map(_text, (value.mean, value.low, value.high)), summary.counts[name]]
        for summary in summaries
        for name, value in summary.values.items()
    ]
    return _csv(["method", "value", "mean", "low", "high", "n"], rows)


def comparison_csv(comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]]) -> str:
    """One line per compared pair and value: first, second, value, difference, low, high, p_value, n."""
    rows = [
        [first, second, name, *map(_text, (c.difference, c.low, c.high, c.p_value)), c.maps]
        for (first, second), row in comparisons.items()
        for name, c in row.items()
    ]
    return _csv(["first", "second", "value", "difference", "low", "high", "p_value", "n"], rows)


def _shown(summaries: Sequence[Summary]) -> list[str]:
    shown: list[str] = []
    for name in COLUMNS:
        if all(math.isnan(s.values[name].mean) for s in summaries if name in s.values):
            continue
        if name.startswith("pointing_game_"):
            base = [s for s in summaries if name in s.values]
            if all(s.counts[name] == s.counts["pointing_game"] for s in base):
                continue
        shown.append(name)
    return shown


def _cell(value: Interval | None, intervals: bool) -> str:
    if value is None or math.isnan(value.mean):
        return "-"
    return f"{value.mean:.3f} ({value.low:.3f}-{value.high:.3f})" if intervals else f"{value.mean:.3f}"


def _difference(value: Comparison | None) -> str:
    if value is None or math.isnan(value.difference):
        return "-"
    return f"{value.difference:+.3f} ({value.low:+.3f} to {value.high:+.3f}), p={value.p_value:.3f}"


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
