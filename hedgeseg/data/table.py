"""A table of labels as spreadsheets write it: any separator, one column of names or one of 0 and 1 per class."""

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hedgeseg.data.entries import split_of
from hedgeseg.data.label_cells import split_cells
from hedgeseg.data.listing import is_image, natural

_IMAGE = re.compile(
    "((images?|img|picture|photo|file)_?)?(id|name|file|path)|(image|file)(s|name|path)?|img|picture|photo"
)
_UNSURE = re.compile("name|.*id")  # what names the image only where no other column does
_LABEL = re.compile("(label|class|class_?name|category|target|tag)(s|es)?|categories|y|diagnosis")
_SEPARATOR_LINE = re.compile('"?sep=.?"?', re.IGNORECASE)
_SPLIT = ("split", "set", "subset", "partition", "fold_name")
_GROUP = ("group", "groups", "group_id", "patient", "patient_id", "patientid", "subject", "subject_id")
_BITS = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}


@dataclass
class Row:
    """What a table says of one image.

    Attributes:
        image: as it is written.
        line: where.
        names: class names; empty where the table says that there is none.
        split: "train", "val" or "test".
        group: which group it belongs to.
    """

    image: str
    line: int
    names: tuple[str, ...]
    split: str | None = None
    group: str | None = None


@dataclass
class Table:
    """A table that was understood.

    Attributes:
        names: class names: in the order of their columns, or sorted.
        rows: one per image.
        single: whether a column of names gives every image exactly one.
        notes: how it was understood, and what was left out.
    """

    names: tuple[str, ...]
    rows: list[Row]
    single: bool
    notes: list[str] = field(default_factory=list)


def read_table(path: str | Path, separator: str | None = None, label_columns: Sequence[str] | None = None) -> Table:
    """Reads a table with a header: a column that names the image, and what it shows.

    Either one column (`label`, `classes`, ...) holds the names of classes, or every further column is a class that
    holds 1 or 0. Columns `split` (train, val, test) and `group` (or `patient`) are read as such. Comma, semicolon, tab
    and `|` between cells are told apart; so are several names in one cell, where the column leaves no doubt. A row
    without a name, or with nothing but 0, is an image that shows none of the classes.

    Args:
        path: the file; UTF-8, UTF-16 or Windows' code page.
        separator: between the names in one cell; None tells it from the column.
        label_columns: the columns that hold labels; None tells them by their names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no header, a row of another length, a value that is neither 0 nor 1, names that may be taken in two
            ways; the message names the line and what to give.
    """
    path = Path(path)
    header, body = _cells(path)
    lower = [cell.lower().replace(" ", "_") for cell in header]
    naming = [i for i, name in enumerate(lower) if _IMAGE.fullmatch(name)]
    image = next((i for i in naming if not _UNSURE.fullmatch(lower[i])), naming[0] if naming else None)
    if image is None or len(header) < 2:
        raise ValueError(
            f"{path} needs a header with a column called image (or file, path, name, id) and one of labels, such as "
            f"image,label; its first line is {header}"
        )
    split = next((i for i, name in enumerate(lower) if name in _SPLIT and i != image), None)
    group = next((i for i, name in enumerate(lower) if name in _GROUP and i != image), None)
    left = [i for i, name in enumerate(header) if name and i not in (image, split, group)]
    chosen, unused = _label_columns(path, header, lower, left, label_columns)
    unused += [f"the {i + 1}. without a name" for i, name in enumerate(header) if not name]
    notes = [f"columns not used: {', '.join(unused)}"] if unused else []
    cells = [[row[i] for i in chosen] for _, row in body]
    names, said, single = _labels(path, [header[i] for i in chosen], cells, [n for n, _ in body], separator, notes)
    rows = [
        Row(
            row[image],
            line,
            present,
            None if split is None else _split(path, line, row[split]),
            None if group is None else row[group] or None,
        )
        for (line, row), present in zip(body, said, strict=True)
    ]
    return Table(names, _once(path, rows, notes), single, notes)


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered rows, without spaces around cells."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: expected a CSV with the columns image,classes or image,<class>,<class>..."
        )
    lines = _text(path).splitlines(keepends=True)
    if lines and _SEPARATOR_LINE.fullmatch(lines[0].strip()):  # for Excel alone
        lines[0] = "\n"
    first = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=_delimiter(first), skipinitialspace=True)
    try:
        rows = [
            (reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}") from error
    if not rows:
        raise ValueError(f"{path} needs a header such as image,label; it is empty")
    header = rows[0][1]
    if any(is_image(cell) for cell in header):
        raise ValueError(f"{path} needs a header: its first line {header} is an image. Put image,label above it")
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise ValueError(f"{path} has {header.count(twice[0])} columns called {twice[0]!r}: rename all but one")
    while not header[-1]:  # separators at the end of a line; some tools write them in some lines only
        header.pop()
    for line, row in rows[1:]:
        while len(row) > len(header) and not row[-1]:
            row.pop()
        if len(row) != len(header):
            raise ValueError(f"{path} line {line}: {len(row)} cells, the header has {len(header)}")
    if len(rows) == 1:
        raise ValueError(f"{path} holds a header and no image")
    return header, rows[1:]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    if raw.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a spreadsheet's own file; save it as CSV")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _delimiter(header: str) -> str:
    """What separates the cells of the header: the sign that is there most often outside quotes."""
    plain = "".join(part for i, part in enumerate(header.split('"')) if i % 2 == 0)
    return max(",;\t|", key=plain.count)


def _label_columns(
    path: Path, header: list[str], lower: list[str], left: list[int], wanted: Sequence[str] | None
) -> tuple[list[int], list[str]]:
    """Positions of the columns of labels, and the names of those that say something else."""
    if wanted is not None:
        strange = [name for name in wanted if name not in header]
        if strange:
            raise ValueError(f"{path} has no column {strange[0]!r}, it has {header}")
        chosen = [header.index(name) for name in wanted]
    else:
        named = [i for i in left if _LABEL.fullmatch(lower[i])]
        if len(named) > 1:
            raise ValueError(
                f"{path}: {[header[i] for i in named]} may all be the labels; give label_columns, such as "
                f"[{header[named[0]]}]"
            )
        chosen = named or left
    if not chosen:
        raise ValueError(f"{path} has no column of labels: {header}")
    return chosen, [header[i] for i in left if i not in chosen]


def _labels(
    path: Path,
    header: list[str],
    cells: list[list[str]],
    lines: list[int],
    separator: str | None,
    notes: list[str],
) -> tuple[tuple[str, ...], list[tuple[str, ...]], bool]:
    """Class names, those of each row, and whether each row has exactly one."""
    bits = all(cell.lower() in _BITS or not cell for row in cells for cell in row)
    if len(header) == 1 and (not bits or _LABEL.fullmatch(header[0].lower())):
        said = split_cells([row[0] for row in cells], separator, f"{path}, column {header[0]!r}", lines)
        names = tuple(sorted({name for present in said for name in present}, key=natural))
        return names, said, all(len(present) == 1 for present in said)
    for line, row in zip(lines, cells, strict=True):
        for name, cell in zip(header, row, strict=True):
            if cell and cell.lower() not in _BITS:
                raise ValueError(
                    f"{path} line {line}: {cell!r} is neither 0 nor 1; several class columns must be multi-hot. If "
                    f"{name!r} is no class, say which columns are: label_columns"
                )
    empty = sum(not cell for row in cells for cell in row)
    if empty:
        notes.append(f"{empty} empty cells read as 0")
    hot = [tuple(name for name, cell in zip(header, row, strict=True) if _BITS.get(cell.lower())) for row in cells]
    return tuple(header), hot, False


def _split(path: Path, line: int, cell: str) -> str:
    found = split_of(cell)
    if found is None:
        raise ValueError(f"{path} line {line}: split {cell!r} is none of train, val, test")
    return found


def _once(path: Path, rows: list[Row], notes: list[str]) -> list[Row]:
    """One row per image: what several rows say of one image adds up."""
    counts = Counter(row.image for row in rows)
    if len(counts) == len(rows):
        return rows
    joined: dict[str, Row] = {}
    for row in rows:
        seen = joined.setdefault(row.image, row)
        if seen is row:
            continue
        if (seen.split, seen.group) != (row.split, row.group):
            raise ValueError(f"{path} line {row.line}: {row.image} is in line {seen.line} with another split or group")
        seen.names = tuple(dict.fromkeys((*seen.names, *row.names)))
    twice = [name for name, count in counts.items() if count > 1]
    notes.append(f"{len(twice)} images in several rows, whose labels add up: {json.dumps(twice[:3])[1:-1]}")
    return list(joined.values())
