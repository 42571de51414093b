"""Several class names in one cell: what separates them is told from the whole column, never from one cell."""

import json
from collections import Counter
from collections.abc import Sequence

LIST_SIGNS = (";", "|", ",")


def split_cells(
    cells: Sequence[str], separator: str | None, source: str, lines: Sequence[int]
) -> list[tuple[str, ...]]:
    """Names of each cell, each once.

    A semicolon or a bar anywhere in the column separates names, in all of it; so does a comma where neither is. Spaces
    do where each word of such a cell also stands elsewhere, on its own or in other company ("dog person" beside
    "person"); where none does, they belong to the names ("polar bear").

    Args:
        cells: the column.
        separator: what separates names; None tells it from the column.
        source: what errors call the column.
        lines: where each cell is written.

    Raises:
        ValueError: the column may be read in two ways.

    Example:
        >>> split_cells(["polar bear;cat", "dog"], None, "labels", [2, 3])
        [('polar bear', 'cat'), ('dog',)]
        >>> split_cells(["dog person", "person", "dog"], None, "labels", [2, 3, 4])
        [('dog', 'person'), ('person',), ('dog',)]
    """
    plain = [_unwrapped(cell) for cell in cells]
    sign = _sign(plain, source, lines) if separator is None else separator
    return [tuple(dict.fromkeys(name.strip() for name in _parts(cell, sign) if name.strip())) for cell in plain]


def _parts(cell: str, sign: str) -> list[str]:
    if not sign:
        return [cell]
    return cell.split(None if sign == " " else sign)


def _unwrapped(cell: str) -> str:
    """A cell without the brackets and quotes of a list: ['a', 'b'] as a;b."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return cell
    try:
        found = json.loads(cell.replace("'", '"'))
    except json.JSONDecodeError:
        return cell[1:-1]
    return ";".join(str(name) for name in found)


def _sign(cells: Sequence[str], source: str, lines: Sequence[int]) -> str:
    """What separates names in a column; empty if every cell is one name."""
    present = [sign for sign in LIST_SIGNS[:2] if any(sign in cell for cell in cells)]
    if len(present) > 1:
        first = [next(line for line, cell in zip(lines, cells, strict=True) if sign in cell) for sign in present]
        raise ValueError(
            f"{source}: names are separated by ';' in line {first[0]} and by '|' in line {first[1]}. Write them all in "
            "one way, or give separator"
        )
    if present:
        return present[0]
    if any("," in cell for cell in cells):
        return ","
    spaced = sorted({tuple(cell.split()) for cell in cells if len(cell.split()) > 1})
    if not spaced:
        return ""
    elsewhere = {cell.strip() for cell in cells if len(cell.split()) == 1}
    in_several = {word for word, count in Counter(w for words in spaced for w in set(words)).items() if count > 1}
    words = {word for words in spaced for word in words}
    known = words & (elsewhere | in_several)
    if known == words:
        return " "
    if not known:
        return ""
    example = " ".join(next(w for w in spaced if set(w) & known))
    raise ValueError(
        f"{source}: is {example!r} one class or several? Give separator ';' if spaces belong to names, or ' ' if they "
        "separate them (--data.separator ';' or --data.separator ' ')"
    )
