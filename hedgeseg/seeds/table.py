"""Scores of seeds as a table to read and a file to keep."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedgeseg.seeds.formats.files import replacing

COLUMNS: dict[str, str] = {
    "miou": "mIoU",
    "miou_best": "mIoU best",
    "background_best": "at",
    "precision": "precision",
    "recall": "recall",
    "coverage": "coverage",
    "pixel_average_precision": "pixel AP",
    "outside_inside_ratio": "out/in",
    "map_segm": "mAP segm",
    "map_bbox": "mAP bbox",
}
"""Headline numbers, in the order of the table's columns. The best mIoU takes its threshold from the true masks."""


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown table with one row per named set of scores; numbers that a set lacks are a dash.

    Args:
        scores: name of a run, such as the method, to what `score_folder` or `score_seeds` returned.
    """
    shown = [key for key in COLUMNS if any(key in row for row in scores.values())]
    header = ["", "n", *(COLUMNS[key] for key in shown)]
    body = [
        [name, str(row.get("images", "-")), *(_number(row.get(key)) for key in shown)] for name, row in scores.items()
    ]
    return markdown(header, body)


def class_table(scores: Mapping[str, Any]) -> str:
    """Markdown table of IoU, precision and recall of each class; classes that never occur are left out."""
    columns = ("iou", "precision", "recall")
    body = [
        [name, *(_number(row[column]) for column in columns)]
        for name, row in scores["per_class"].items()
        if not all(math.isnan(row[column]) for column in columns)
    ]
    return markdown(["class", "IoU", "precision", "recall"], body)


def write_scores(path: str | os.PathLike[str], scores: Mapping[str, Any]) -> Path:
    """Write scores as JSON, whole or not at all; numbers that are not defined become null."""
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(plain(scores), indent=2, sort_keys=False) + "\n", encoding="utf-8")
    return target


def write_tables(folder: str | os.PathLike[str], scores: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `scores.json`, `scores.csv` and `scores.md` into a folder, each whole or not at all.

    Args:
        folder: made if it does not exist.
        scores: as `score_table` takes them.
    """
    target = Path(folder)
    write_scores(target / "scores.json", scores)
    sections = [score_table(scores), *(f"## {name}\n\n{class_table(found)}" for name, found in scores.items())]
    for name, text in (("scores.csv", score_csv(scores)), ("scores.md", "\n\n".join(sections) + "\n")):
        with replacing(target / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return target


def score_csv(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per number: seeds, class (empty for numbers over all classes), value, number (empty if undefined)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seeds", "class", "value", "number"])
    for name, found in scores.items():
        groups = {"": {key: value for key, value in found.items() if key != "per_class"}, **found["per_class"]}
        for group, values in groups.items():
            writer.writerows(
                [name, group, key, f"{value:.6g}" if math.isfinite(value) else ""] for key, value in values.items()
            )
    return text.getvalue()


def plain(value: Any) -> Any:
    """The same value with NaN and infinity as None, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def markdown(header: list[str], body: list[list[str]]) -> str:
    """Markdown table, its columns aligned; all but the first to the right."""
    widths = [max(len(row[column]) for row in [header, *body]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in body)])
