"""The second pass over a folder of seeds: levels of `auto` placed over all of its images, and the masks cut at them.

The first pass cut every mask at the level of its image alone. `levels.json` in the folder tells the levels that the
masks were cut at; it is gone while there are masks of the first pass.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hedgeseg.progress import progress
from hedgeseg.seeds.auto_level import Auto, PerClass, PooledMoments
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.formats import identifiers, read_seed
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.refine import Refiner, refiner_of
from hedgeseg.seeds.seed import Seed

LEVELS = "levels.json"

Folder = str | os.PathLike[str]


def forget_levels(folder: Folder) -> None:
    """To be called before a mask of the first pass is written."""
    Path(folder, LEVELS).unlink(missing_ok=True)


def pooled_levels(folder: Folder, rule: Auto) -> dict[int, float]:
    """The level of every class over all seeds of the folder that have it."""
    pooled, seen = PooledMoments(), set[int]()
    for _, seed in _seeds(folder, identifiers(folder, ".npz"), "levels"):
        pooled.add(seed.scores, seed.classes.tolist())
        seen.update(seed.classes.tolist())
    return {c: rule.level(pooled[c]) for c in sorted(seen)}


def is_cut_at(folder: Folder, levels: dict[int, float]) -> bool:
    """Whether all masks of the folder were cut at these levels."""
    path = Path(folder, LEVELS)
    if not path.is_file():
        return False
    stored: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return stored == {str(c): level for c, level in levels.items()}


def cut_again(
    folder: Folder,
    levels: dict[int, float],
    write: Callable[[str, Seed], object],
    refiner: Refiner | None = None,
    picture: Callable[[str, tuple[int, int]], np.ndarray | None] | None = None,
    refine_side: int = 1024,
    part: tuple[int, int] = (0, 1),
) -> list[str]:
    """Cut the masks of a folder at the levels of their classes.

    Args:
        folder: seeds with scores.
        levels: from `pooled_levels`.
        write: (id, seed), writes a seed to the folder.
        refiner: what makes regions follow edges, if anything.
        picture: (id, size) -> uint8 (H, W, 3) of that size for the refiner, None where there is none.
        refine_side: longest side in pixels at which the refiner works.
        part: (i, n): every n-th seed from the i-th.

    Returns:
        Ids whose mask stays as it was, because the refiner has no picture of it.
    """
    left = []
    for identifier, seed in _seeds(folder, identifiers(folder, ".npz")[part[0] :: part[1]], "masks"):
        classes = seed.classes.tolist()
        if not classes:
            continue
        shown = None
        if refiner is not None:
            found = None if picture is None else picture(identifier, seed.size)
            if found is None:
                left.append(identifier)
                continue
            shown = _given(found)
        rule = PerClass(tuple(levels[c] for c in classes))
        own = refiner_of(refiner, identifier)
        new = cut_seed(seed.scores, seed.classes, rule, own, shown, refine_side, seed.estimates)
        if not _same(seed, new):
            write(identifier, new)
    return left


def note_levels(folder: Folder, levels: dict[int, float]) -> None:
    """Write `levels.json`, when all masks are cut at these levels."""
    with replacing(Path(folder, LEVELS)) as temporary:
        temporary.write_text(json.dumps(levels, indent=1) + "\n", encoding="utf-8")


def _same(old: Seed, new: Seed) -> bool:
    if old.confidence is None or new.confidence is None:
        return False
    return torch.equal(old.mask, new.mask) and torch.equal(old.confidence, new.confidence)


def _given(picture: np.ndarray) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(np.array(picture))


def _seeds(folder: Folder, wanted: Sequence[str], what: str) -> Iterator[tuple[str, Seed]]:
    for identifier in progress(wanted, what, unit="image"):
        yield identifier, read_seed(folder, identifier)
