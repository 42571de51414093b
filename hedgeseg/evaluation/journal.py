"""What is known about one method's maps: a file with one line per image, which grows as images are scored.

A line is written at once and whole lines alone are read, so a kill at any moment loses at most the image at hand, and
several processes may each write a file of their own.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hedgeseg.evaluation.method_run import MethodRun


@dataclass(frozen=True)
class Record:
    """The scores of one image's T maps.

    Attributes:
        id: of the image.
        classes: class index of each map.
        seconds: it took to make the maps.
        values: T numbers by name, NaN where a number is not defined.
        curves: T curves by name.
        pairs: one number per pair of maps, by name.
        seed: how the pixels fall into the cells of the seed curve's histogram: the numbers of the cells that are not
            empty, and how many pixels are in each.
        pooled: what `hedgeseg.evaluation.pooled` keeps, by metric.
    """

    id: str
    classes: tuple[int, ...]
    seconds: float
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    pairs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seed: tuple[Sequence[int], Sequence[int]] = ((), ())
    pooled: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The records of one method in one folder.

    Args:
        folder: where journals are.
        run: the method.
        process: this process's number; each writes its own file.
    """

    def __init__(self, folder: Path, run: MethodRun, process: int = 0) -> None:
        self.run = run
        self._path = folder / f"{run.key}.{process}.jsonl"
        self.done = {record.id for record in read_records(folder, run.key)}

    def append(self, record: Record) -> None:
        """Write one record."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            if not file.tell():
                head = {"begun": time.time_ns(), "label": self.run.label, **self.run.settings}
                file.write(_line(head).encode())
            else:
                # Only the last byte is read: a journal of a large data set has gigabytes.
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")  # the end of a line that a kill cut off
            file.write(_line(asdict(record)).encode())
        self.done.add(record.id)


def read_records(folder: Path, key: str) -> list[Record]:
    """All records of a method, of all processes, each image once; lines that are cut off are left out."""
    records: dict[str, Record] = {}
    for path in sorted(folder.glob(f"{key}.*.jsonl")):
        for entry in _entries(path)[1:]:
            record = Record(
                id=entry["id"],
                classes=tuple(entry["classes"]),
                seconds=entry["seconds"],
                values={name: [_number(v) for v in row] for name, row in entry["values"].items()},
                curves={name: [[_number(v) for v in row] for row in rows] for name, rows in entry["curves"].items()},
                pairs={name: [_number(v) for v in row] for name, row in entry["pairs"].items()},
                seed=(entry["seed"][0], entry["seed"][1]),
                pooled=entry.get("pooled", {}),
            )
            records.setdefault(record.id, record)
    # In an order of their own, so that what is drawn of them at random does not depend on who was first.
    return [records[name] for name in sorted(records)]


def read_runs(folder: Path) -> list[MethodRun]:
    """The methods that a folder has journals of, in the order in which they were begun."""
    heads = [(path, entries[0]) for path in sorted(folder.glob("*.jsonl")) if (entries := _entries(path))]
    found: dict[str, MethodRun] = {}
    for path, head in sorted(heads, key=lambda entry: entry[1].get("begun", 0)):
        settings = {name: value for name, value in head.items() if name not in ("begun", "label", "method")}
        found.setdefault(path.name.rsplit(".", 2)[0], MethodRun(head["label"], head["method"], settings))
    return list(found.values())


def _entries(path: Path) -> list[dict[str, Any]]:
    entries = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(_plain(entry), allow_nan=False, separators=(",", ":")) + "\n"


def _plain(value: Any) -> Any:
    """NaN as null, floats with the digits that float32 has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
