"""What a folder of seeds says of itself: ids, class names, and the classes of an image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from hedgeseg.commands.classes import class_names
from hedgeseg.commands.errors import UsageError
from hedgeseg.seeds.formats import has_scores, identifiers
from hedgeseg.seeds.formats.numpy_files import read_arrays
from hedgeseg.seeds.manifest import class_names_of


def seed_ids(folder: Path) -> list[str]:
    """Ids of the seeds, complete or not.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    return sorted({*identifiers(folder, ".png"), *identifiers(folder, ".npz")})


def known_classes(given: str | None, folders: Sequence[Path], masks: Path | None = None) -> tuple[str, ...]:
    """Class names as given, else those that the folders' manifests name, else numbers.

    Args:
        given: What `--classes` says.
        folders: Of seeds, all of the same classes.
        masks: True masks, for the highest number where nobody has names.

    Raises:
        UsageError: The folders were made for other classes, or for the same in another order.
    """
    stored = {str(folder): class_names_of(folder) for folder in folders}
    named = {folder: names for folder, names in stored.items() if names}
    if given is not None:
        names = class_names(given)
        for folder, own in named.items():
            if len(own) != len(names) or (sorted(own) == sorted(names) and own != names):
                raise UsageError(f"{folder} was made for the classes {list(own)}, --classes says {list(names)}")
        return names
    if len(set(named.values())) > 1:
        raise UsageError(
            "the folders were made for different classes: " + "; ".join(f"{f}: {list(n)}" for f, n in named.items())
        )
    if named:
        return next(iter(named.values()))
    return tuple(f"class {number}" for number in range(1, _highest([*folders, *([masks] if masks else [])]) + 1))


def labels_of(folders: Sequence[Path], identifier: str) -> Collection[int]:
    """Classes that the seeds of an image are of; empty where none says."""
    for folder in folders:
        if has_scores(folder, identifier):
            try:
                classes = read_arrays(folder / f"{identifier}.npz").get("classes")
            except ValueError:  # it is named where the seed is read
                continue
            if classes is not None:
                return [int(value) for value in np.ravel(classes)]
    return ()


def blank_size(folders: Sequence[Path], identifier: str) -> tuple[int, int] | None:
    """(height, width) of the seed of an image that shows none of the classes; None of any other."""
    from hedgeseg.data.orientation import read_header

    for folder in folders:
        if has_scores(folder, identifier):
            try:
                arrays = read_arrays(folder / f"{identifier}.npz")
            except ValueError:  # it is named where the seed is read
                continue
            if "classes" in arrays and not np.size(arrays["classes"]) and not labels_of(folders, identifier):
                mask = folder / f"{identifier}.png"
                return read_header(mask).stored if mask.is_file() else None
    return None


def _highest(folders: Sequence[Path]) -> int:
    """The largest id in PNG masks of ids."""
    from PIL import Image

    highest = 1
    for folder in folders:
        for name in identifiers(folder, ".png"):
            try:
                with Image.open(folder / f"{name}.png") as file:
                    ids = np.unique(np.asarray(file)) if file.mode in ("P", "L") else np.zeros(1, int)
            except (OSError, SyntaxError, ValueError):  # it is named where the mask is read
                continue
            highest = max(highest, *(int(value) for value in ids if value < 255))
    return highest
