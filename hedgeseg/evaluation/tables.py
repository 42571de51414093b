"""Summaries and comparisons as tables: markdown to read, CSV to compute with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from hedgeseg.evaluation.summary import Summary
from hedgeseg.metrics import Comparison, Interval
from hedgeseg.seeds.table import markdown

SECTIONS: dict[str, dict[str, str]] = {
    "Where the maps point": {
        "pointing_game": "PG",
        "pointing_game_difficult": "PG difficult",
        "pointing_game_predicted": "PG predicted",
        "pointing_game_difficult_predicted": "PG difficult predicted",
        "pixel_average_precision": "AP",
        "pixel_average_precision_two_channel": "AP two-channel",
        "rank_accuracy": "rank accuracy",
        "px_ap": "PxAP",
        "max_box_acc_v2": "MaxBoxAccV2",
        "component_average_precision": "objects AP50",
        "outside_inside_ratio": "O/I",
        "outside_inside_ratio_of_means": "O/I of means",
        "positive_ratio": "PR",
        "miou": "seed mIoU",
        "class_discrimination": "class discrimination",
    },
    "What the network makes of the pixels they choose": {
        "region_insertion": "insertion of regions",
        "region_insertion_clean": "(whole image)",
        "region_insertion_canvas": "(bare canvas)",
        "region_insertion_probability": "insertion of regions: probability",
        "deletion": "deletion",
        "insertion": "insertion",
    },
    "Whether they depend on what the network has learned": {
        "randomization_sanity": "Spearman",
        "randomization_sanity_efficient_mprt": "eMPRT",
    },
}
"""Tables in their order; values in the order of a table's columns, and what a column is called."""


def summary_table(summaries: Sequence[Summary], intervals: bool = True) -> str:
    """Markdown tables with one row per method: number of maps, means with their intervals, seconds per map.

    A column whose values all equal another's (a subset that is everything) is left out, and a table without columns.
    """
    tables = []
    for title, columns in SECTIONS.items():
        shown = _shown(summaries, columns)
        if not shown:
            continue
        first = title == next(iter(SECTIONS))
        header = ["method", "n", *(columns[name] for name in shown), *(["s/map"] if first else [])]
        body = [
            [
                summary.run.label,
                _count(summary) if first else str(summary.counts.get(shown[0], 0)),
                *(_cell(summary.values.get(name), intervals) for name in shown),
                *([f"{summary.seconds:.2f}"] if first else []),
            ]
            for summary in summaries
        ]
        tables.append(f"### {title}\n\n{markdown(header, body)}")
    return "\n\n".join(tables)


def comparison_table(comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]]) -> str:
    """Markdown tables with one row per compared pair: first minus second on the maps of both, and the p-value."""
    tables = []
    for title, columns in SECTIONS.items():
        names = [name for name in columns if any(_differs(row.get(name)) for row in comparisons.values())]
        if names:
            body = [
                [f"{first} - {second}", *(_difference(row.get(name)) for name in names)]
                for (first, second), row in comparisons.items()
            ]
            tables.append(f"### {title}\n\n{markdown(['difference', *(columns[name] for name in names)], body)}")
    return "\n\n".join(tables)


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


def _shown(summaries: Sequence[Summary], columns: Mapping[str, str]) -> list[str]:
    shown: list[str] = []
    for name in columns:
        having = [s for s in summaries if name in s.values]
        if all(math.isnan(s.values[name].mean) for s in having):
            continue
        whole = "pointing_game"
        if name.startswith(f"{whole}_") and all(s.counts[name] == s.counts[whole] for s in having):
            continue
        shown.append(name)
    return shown


def _count(summary: Summary) -> str:
    return str(summary.maps) + (f" ({summary.broken} not finite)" if summary.broken else "")


def _differs(value: Comparison | None) -> bool:
    """Whether there is a difference on any image: what is the same for all methods needs no column."""
    return value is not None and _known(value) and not value.low == value.high == 0


def _known(value: Comparison | None) -> bool:
    return value is not None and not math.isnan(value.difference)


def _cell(value: Interval | None, intervals: bool) -> str:
    if value is None or math.isnan(value.mean):
        return "-"
    # A single image has no interval.
    spread = f" ({value.low:.3f}-{value.high:.3f})" if intervals and value.low < value.high else ""
    return f"{value.mean:.3f}{spread}"


def _difference(value: Comparison | None) -> str:
    if value is None or not _known(value):
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
