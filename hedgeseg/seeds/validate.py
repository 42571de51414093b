"""Looks for what breaks training on masks: sizes, labels, 255, palettes, names, missing images."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hedgeseg.seeds.convert import FORMATS, check_pickle, known_format
from hedgeseg.seeds.formats import ClassScores, identifiers
from hedgeseg.seeds.formats.files import file_in
from hedgeseg.seeds.seed import IGNORE, Seed
from hedgeseg.visual import voc_palette


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        identifier: image id.
        kind: `missing`, `unknown`, `unreadable`, `size`, `labels`, `scores` or `palette`.
        message: what is wrong and what was expected.
    """

    identifier: str
    kind: str
    message: str


def validate(
    folder: str | os.PathLike[str],
    format: str = "npz",
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    num_classes: int | None = None,
    labels: Mapping[str, Collection[int]] | None = None,
    allow_pickle: bool = False,
) -> list[Problem]:
    """Problems of a folder of seeds or masks, in the order of the ids; empty if there are none.

    Args:
        folder: what to look at.
        format: a name of `hedgeseg.seeds.convert.FORMATS`.
        sizes: (height, width) of the original images by id; the ids that must be there, and no others.
        num_classes: labels above it are wrong.
        labels: classes of each image; others in its mask are wrong.
        allow_pickle: lets pickled formats be opened.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: unknown format, a pickled one without `allow_pickle`, or no file of the format.
    """
    chosen = known_format(format)
    check_pickle(format, allow_pickle)
    present = identifiers(folder, chosen.suffix)
    if not present and sizes is None:
        there = [name for name, other in FORMATS.items() if identifiers(folder, other.suffix)]
        hint = f"; its files look like those of {', '.join(there)} (--format)" if there else ""
        raise ValueError(f"{os.fspath(folder)} holds no {chosen.suffix} files of format {format!r}{hint}")
    problems = [] if sizes is None else _names(present, sizes)
    for identifier in present:
        try:
            content = chosen.read(folder, identifier, allow_pickle)
        except (ValueError, OSError, TypeError) as error:
            problems.append(Problem(identifier, "unreadable", str(error)))
            continue
        expected = None if sizes is None else sizes.get(identifier)
        allowed = None if labels is None or identifier not in labels else set(labels[identifier])
        for kind, message in _content(content, expected, num_classes, allowed):
            problems.append(Problem(identifier, kind, message))
        if not isinstance(content, ClassScores):
            problems.extend(_palette(folder, identifier))
    return sorted(problems, key=lambda problem: problem.identifier)


def _names(present: list[str], sizes: Mapping[str, tuple[int, int]]) -> list[Problem]:
    missing = [Problem(i, "missing", "no file for this image") for i in sizes if i not in set(present)]
    unknown = [Problem(i, "unknown", "the data set has no image of this name") for i in present if i not in sizes]
    return missing + unknown


def _content(
    content: Seed | ClassScores | np.ndarray,
    size: tuple[int, int] | None,
    num_classes: int | None,
    allowed: set[int] | None,
) -> list[tuple[str, str]]:
    found = []
    if isinstance(content, np.ndarray):
        shape, classes = content.shape, _classes_of(content)
        if not classes and (content == IGNORE).any():
            found.append(
                (
                    "labels",
                    "holds no class, only 255 and what is not marked: 255 counts as void, so nothing would be learnt "
                    "of it. Is it a binary mask? A data module reads it with mask_values {255: NAME}, score with "
                    "--mask-values 255=NAME",
                )
            )
    else:
        shape, classes = tuple(content.scores.shape[1:]), {int(c) for c in content.classes}
        scores = np.asarray(content.scores)
        if not np.isfinite(scores).all() or (scores.size and (scores.min() < 0 or scores.max() > 1)):
            found.append(("scores", "scores must be finite and lie in [0, 1]"))
    if size is not None and tuple(shape) != tuple(size):
        found.append(("size", f"is {tuple(shape)} but the image is {tuple(size)} (height, width)"))
    above = sorted(c for c in classes if num_classes is not None and c >= num_classes)
    if above:
        found.append(("labels", f"classes {above} do not exist, there are {num_classes} (masks hold class + 1)"))
    extra = sorted(classes - allowed) if allowed is not None else []
    if extra:
        found.append(("labels", f"classes {extra} are not among the image's labels {sorted(allowed or ())}"))
    return found


def _classes_of(mask: np.ndarray) -> set[int]:
    return {int(v) - 1 for v in np.unique(mask) if v not in (0, IGNORE)}


def _palette(folder: str | os.PathLike[str], identifier: str) -> list[Problem]:
    path: Path = file_in(folder, identifier, ".png")
    with Image.open(path) as image:
        if image.mode != "P":
            return [
                Problem(
                    identifier,
                    "palette",
                    f"mode {image.mode}: ids are kept but viewers show black; write it with mode P",
                )
            ]
        stored = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
    if not np.array_equal(stored, voc_palette()[: len(stored)]):
        return [Problem(identifier, "palette", "the palette is not that of PASCAL VOC")]
    return []
