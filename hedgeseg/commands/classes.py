"""Class names as they are given on a command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from hedgeseg.commands.errors import UsageError


def class_names(given: str) -> tuple[str, ...]:
    """Names from `voc`, a text file with one name per line, or a list `a,b,c`.

    Raises:
        UsageError: If there is none, or one occurs twice.

    Example:
        >>> class_names("cat, dog")
        ('cat', 'dog')
    """
    if given == "voc":
        from hedgeseg.data import VOC_CLASSES

        return tuple(VOC_CLASSES)
    path = Path(given)
    text = path.read_text(encoding="utf-8").splitlines() if path.is_file() else given.split(",")
    names = tuple(name.strip() for name in text if name.strip())
    if not names or len(set(names)) != len(names):
        raise UsageError(f"--classes {given!r}: give 'voc', a file with one name per line, or different names a,b,c")
    return names


def class_index(target: str, names: Sequence[str], number: int) -> int:
    """The index of a class that is given by index or by name, whatever its case.

    Args:
        target: What was given.
        names: Names of the classes; empty if they are not known.
        number: Of the model's logits.

    Raises:
        UsageError: If there is no such class; names the nearest.
    """
    if target.isdecimal():
        if int(target) < number:
            return int(target)
        raise UsageError(f"--target {target}: the model has classes 0 to {number - 1}")
    lower = [name.lower() for name in names]
    if target.lower() in lower:
        return lower.index(target.lower())
    if not names:
        raise UsageError(f"--target {target!r}: the classes of these weights have no names; give --classes or an index")
    hint = ", ".join(repr(names[lower.index(n)]) for n in near_names(target.lower(), lower)) or "give the index"
    raise UsageError(f"--target {target!r} is none of the {len(names)} classes; nearest: {hint}")


def near_names(wanted: str, names: Sequence[str], count: int = 5) -> list[str]:
    """Names a person may have meant: those that hold the word, the shortest first, then those spelt alike.

    Example:
        >>> near_names("dog", ["cat", "eskimo dog", "dig", "hot dog"])
        ['hot dog', 'eskimo dog', 'dig']
    """
    holding = sorted((n for n in names if wanted in re.split(r"[\W_]+", n)), key=len)
    alike = difflib.get_close_matches(wanted, names, n=count)
    return list(dict.fromkeys([*holding, *alike]))[:count]
