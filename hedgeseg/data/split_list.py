"""The list of a split, beside the run that was made with it."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

SPLIT_LIST = "split.csv"


def write_split_list(folder: Path, rows: Iterable[tuple[str, str, Sequence[str], str | None]]) -> Path:
    """Writes `split.csv`: id, split, classes and group of every image, whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SPLIT_LIST
    temporary = folder / f".tmp-{os.getpid()}-{SPLIT_LIST}"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "split", "classes", "group"))
        writer.writerows((name, split, ";".join(classes), group or "") for name, split, classes, group in rows)
    os.replace(temporary, path)
    return path


def read_split_list(path: str | Path) -> Mapping[str, str]:
    """Split by image id.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no list that `write_split_list` wrote.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"split {path}: expected 'given', 'random' or the {SPLIT_LIST} of a run")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"id", "split"} <= set(rows[0]):
        raise ValueError(f"{path} is no list of a split: it needs the columns id and split")
    return {row["id"]: row["split"] for row in rows}
