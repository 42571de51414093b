"""Tables of what `paper_on_photographs.py` has measured: methods down, networks and photographs across."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from hedgeseg.data.voc_classes import VOC_CLASSES
from hedgeseg.evaluation import MethodRun, Summary, summarize_run
from hedgeseg.evaluation.columns import value_columns
from hedgeseg.evaluation.comparison import compare_summaries
from hedgeseg.evaluation.journal import Record, read_records, read_runs
from hedgeseg.metrics import compare, confidence_interval, holm
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.table import markdown

NUMBERS = {
    "pointing_game": "Pointing game, all labels",
    "pointing_game_predicted": "Pointing game, the three likeliest classes",
    "pixel_average_precision": "Pixel average precision",
    "outside_inside_ratio_of_means": "Outside-inside ratio of the means",
    "positive_ratio": "Positive ratio",
    "miou": "Seed mIoU at the best threshold",
}
ASKED = {
    "region_insertion": "regions: accuracy",
    "region_insertion_probability": "regions: probability",
    "insertion": "insertion",
    "randomization_sanity": "Spearman",
    "randomization_sanity_efficient_mprt": "eMPRT",
}
BINS = 100
RESAMPLES = 20_000
"""Of a table of differences: no p-value is below one in so many, and Holm multiplies it by the table's entries."""
LEAST = 5
"""A pair with fewer photographs is not shown."""


def write_tables(out: Path) -> str:
    """All tables of a folder, as markdown; also written as `tables.md`."""
    pairs = {path.parent.name + "/" + path.name: path for path in sorted(out.glob("*/*")) if path.is_dir()}
    tested = {name: path for name, path in pairs.items() if not name.endswith("voc_train")}
    options = {name: plain(path / "maps") for name, path in pairs.items() if name not in tested}
    word = {name: plain(path / "network", ASKED) for name, path in pairs.items()}
    parts = [
        *comparing(tested, "hedge", "chief", "Three methods, every photograph: "),
        *pooled("Three methods, every photograph, all pairs in one pool", tested, 1, "chief"),
        *pooled("Three methods, every photograph of several classes, all pairs in one pool", tested, 2, "chief"),
        *comparing(tested, "hedge"),
        *pooled("All pairs in one pool", tested, 1),
        *pooled("Photographs of several classes, all pairs in one pool", pairs, 2),
        *(f"## Options, {name}\n\n{table}" for name, table in options.items() if table),
        *(f"## The network's word, {name}\n\n{table}" for name, table in word.items() if table),
    ]
    text = "\n\n".join(parts) + "\n"
    with replacing(out / "tables.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def comparing(pairs: dict[str, Path], base: str, folder: str = "maps", of: str = "") -> list[str]:
    """A table per number, and one of the base's paired differences with p-values by Holm over the whole table."""
    found = {name: _summaries(path, folder) for name, path in pairs.items()}
    found = {name: rows for name, rows in found.items() if base in rows and len(rows[base].records) >= LEAST}
    if not found:
        return []
    methods = list(dict.fromkeys(label for rows in found.values() for label in rows))
    tables = []
    for number, title in NUMBERS.items():
        body = [
            [m, *(_cell(rows.get(m), number) for rows in found.values()), _firsts(m, number, found)] for m in methods
        ]
        counts = ["maps", *(str(rows[base].counts.get(number, 0)) for rows in found.values()), ""]
        tables.append(f"## {of}{title}\n\n{markdown(['method', *found, 'first'], [*body, counts])}")
    for number in ("pointing_game", "pixel_average_precision"):
        tables.append(
            f"## {of}{NUMBERS[number]}: {base} minus the others\n\n{_differences(found, base, methods, number)}"
        )
    return tables


def pooled(title: str, pairs: dict[str, Path], least: int, folder: str = "maps") -> list[str]:
    """All pairs in one pool, of the photographs with so many explained classes; photographs are resampled, not maps."""
    kept: dict[str, dict[tuple[str, str], Record]] = {}
    for name, path in pairs.items():
        network, data = name.split("/")
        for run in read_runs(path / folder / "images"):
            for record in read_records(path / folder / "images", run.key):
                if len(record.classes) >= least and record.values:
                    kept.setdefault(run.label, {})[(network, f"{data}/{record.id}")] = record
    if "hedge" not in kept:
        return []
    body, everything = [], sorted(kept["hedge"])
    for label, records in kept.items():
        keys = [key for key in everything if key in records]
        if len(keys) < len(everything) / 2:
            continue
        row = [label, str(len(keys)), str(sum(len(records[key].classes) for key in keys))]
        for number in ("pointing_game", "pixel_average_precision"):
            own, images = _pooled([records[key] for key in keys], keys, number)
            interval = confidence_interval(own, images)
            base, _ = _pooled([kept["hedge"][key] for key in keys], keys, number)
            difference = compare(base, own, images)
            row += [
                f"{interval.mean:.3f} ({interval.low:.3f}-{interval.high:.3f})",
                "-"
                if label == "hedge"
                else f"{difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
            ]
        body.append(row)
    header = ["method", "images", "maps", "PG", "hedge minus it", "AP", "hedge minus it"]
    return [f"## {title}\n\n{markdown(header, body)}"]


def plain(folder: Path, numbers: dict[str, str] = NUMBERS) -> str:
    """Means with intervals of one folder; empty without any."""
    if not (folder / "images").is_dir():
        return ""
    found = [_summary(run, read_records(folder / "images", run.key)) for run in read_runs(folder / "images")]
    found = [summary for summary in found if summary.records]
    shown = {number: title for number, title in numbers.items() if any(number in s.values for s in found)}
    body = [[s.run.label, str(len(s.records)), str(s.maps), *(_interval(s, number) for number in shown)] for s in found]
    return markdown(["method", "images", "maps", *shown.values()], body) if body else ""


def _summaries(path: Path, kept: str) -> dict[str, Summary]:
    """By label, of the photographs that came first: those of several classes were explained ahead of their turn."""
    folder = path / kept / "images"
    if not folder.is_dir():
        return {}
    order = [name for _, name, _ in json.loads((path / "order.json").read_text())]
    found = {}
    for run in read_runs(folder):
        records = {record.id: record for record in read_records(folder, run.key)}
        first = next((i for i, name in enumerate(order) if name not in records), len(order))
        if first >= LEAST:
            found[run.label] = _summary(run, [records[name] for name in order[:first]])
    return found


def _summary(run: MethodRun, records: Sequence[Record]) -> Summary:
    return summarize_run(run, records, len(VOC_CLASSES), BINS)


def _cell(summary: Summary | None, number: str) -> str:
    if summary is None or number not in summary.values or math.isnan(summary.values[number].mean):
        return "-"
    return f"{summary.values[number].mean:.3f}"


def _firsts(method: str, number: str, found: dict[str, dict[str, Summary]]) -> str:
    """On how many pairs a method is the best one."""
    lower = "outside" in number or number == "positive_ratio"
    count = 0
    for rows in found.values():
        values = {m: s.values[number].mean for m, s in rows.items() if number in s.values}
        values = {m: v for m, v in values.items() if not math.isnan(v)}
        if values:
            best = min(values.values()) if lower else max(values.values())
            count += method in values and values[method] == best
    return str(count)


def _differences(found: dict[str, dict[str, Summary]], base: str, methods: Sequence[str], number: str) -> str:
    rows, names = {}, list(found)
    for method in methods:
        if method != base:
            rows[method] = [
                compare_summaries(
                    found[n][base], found[n][method], len(VOC_CLASSES), BINS, RESAMPLES, only=(number,)
                ).get(number)
                if method in found[n]
                else None
                for n in names
            ]
    flat = [(m, i) for m, row in rows.items() for i, c in enumerate(row) if c is not None]
    corrected = dict(zip(flat, holm([rows[m][i].p_value for m, i in flat]), strict=True))  # type: ignore[union-attr]
    body = []
    for method, row in rows.items():
        cells = []
        for i, c in enumerate(row):
            mark = "" if c is None else " **" if corrected[method, i] < 0.05 else " *" if c.p_value < 0.05 else ""
            cells.append("-" if c is None else f"{c.difference:+.3f}{mark}")
        body.append([method, *cells])
    return markdown(["method", *names], body) + "\n\n`*`: p < .05; `**`: also after Holm's correction over the table."


def _pooled(records: Sequence[Record], keys: Sequence[tuple[str, str]], number: str) -> tuple[Tensor, Tensor]:
    """One number of every map, and which photograph it is of, whatever the network."""
    columns, _, places = value_columns(records)
    column = columns.get(number, torch.full(places.shape, math.nan, dtype=torch.float64))
    photographs = {name: i for i, name in enumerate(dict.fromkeys(name for _, name in keys))}
    owner = torch.tensor([photographs[name] for _, name in keys])
    return column, owner[places]


def _interval(summary: Summary, number: str) -> str:
    value = summary.values.get(number)
    return "-" if value is None or math.isnan(value.mean) else f"{value.mean:.3f} ({value.low:.3f}-{value.high:.3f})"
