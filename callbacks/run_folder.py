"""A folder of its own for every run: the pictures of the next run do not join those of the last one."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def claim_folder(root: Path, name: str) -> Path:
    """Make the first of `name`, `name_1`, `name_2`, ... below `root` that is not there yet.

    Two runs that begin at the same moment get different ones.
    """
    for number in count():
        folder = root / (name if number == 0 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")
