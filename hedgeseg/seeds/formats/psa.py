"""PSA's class maps (also SEAM, MCTformer, TransCAM): `<id>.npy`, a pickled dictionary `{class: float32 (H, W)}`.

Two layouts share the name and differ by one: maps are keyed by the class itself, from 0, without background; the
directories of CRF results (`*_4.0`, `*_24.0`) hold background under 0 and every class under `class + 1`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hedgeseg.seeds.formats.class_scores import ClassScores, HasScores, arrays
from hedgeseg.seeds.formats.pickled import read_dictionary, write_dictionary


def write_psa(folder: str | os.PathLike[str], identifier: str, seed: HasScores) -> Path:
    """Write the scores of a seed, keyed by class from 0; returns the path."""
    scores, classes = arrays(seed)
    return write_dictionary(folder, identifier, {int(c): scores[k] for k, c in enumerate(classes)})


def read_psa(folder: str | os.PathLike[str], identifier: str, *, allow_pickle: bool = False) -> ClassScores:
    """Read maps keyed by class from 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: `allow_pickle` is not given, or the file is of another format, of CRF results, too.
    """
    content = read_dictionary(folder, identifier, allow_pickle)
    found = _stacked(identifier, content, first=0)
    if len(content) > 1 and 0 in content and _is_background(found):
        raise ValueError(f"{identifier}: map 0 is what the others leave of one, a background; read it as 'psa_crf'")
    return found


def write_psa_crf(folder: str | os.PathLike[str], identifier: str, seed: HasScores, alpha: float | None = None) -> Path:
    """Write background under 0 and each class under `class + 1`; returns the path.

    Args:
        folder: made if it does not exist.
        identifier: image id.
        seed: of scores that are posteriors, background is what they leave of one.
        alpha: for scores that are no posteriors, background is `(1 - max score)^alpha` (PSA).
    """
    scores, classes = arrays(seed)
    if alpha is None:
        background = np.clip(1 - scores.sum(0), 0, 1)
    else:
        background = (1 - scores.max(0, initial=0)) ** alpha
    content = {0: background.astype(np.float32)} | {int(c) + 1: scores[k] for k, c in enumerate(classes)}
    return write_dictionary(folder, identifier, content)


def read_psa_crf(folder: str | os.PathLike[str], identifier: str, *, allow_pickle: bool = False) -> ClassScores:
    """Read maps keyed by `class + 1`; background is left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: `allow_pickle` is not given, or the file has no background under 0, so is of the other layout.
    """
    content = read_dictionary(folder, identifier, allow_pickle)
    if 0 not in content:
        raise ValueError(
            f"{identifier}: keys {sorted(map(str, content))} without 0, the background of CRF results; read it as 'psa'"
        )
    everything = _stacked(identifier, content, first=0)
    if not _is_background(everything):
        raise ValueError(
            f"{identifier}: map 0 is no background, it is large where others are or small where none is; read it as "
            "'psa'"
        )
    background = np.asarray(content.pop(0))
    if not content:
        return ClassScores(np.zeros((0, *background.shape), np.float32), np.zeros(0, np.int64))
    return _stacked(identifier, content, first=1)


def _is_background(found: ClassScores) -> bool:
    """Whether the first map, of class 0, is what the others leave over: small where one is large, and the reverse.

    It holds for posteriors, and for PSA's `(1 - max score)^alpha` up to alphas of 32.
    """
    first, others = found.scores[0], found.scores[1:].max(0, initial=0)
    return bool((first <= 1.02 - others).all() and (first + others).min(initial=1) > 0.1)


def _stacked(identifier: str, content: dict[int, np.ndarray], first: int) -> ClassScores:
    strange = [key for key in content if not isinstance(key, int | np.integer) or key < first]
    if strange:
        raise ValueError(f"{identifier}: a PSA file maps class numbers to arrays, this one has the keys {strange}")
    if not content:
        raise ValueError(f"{identifier}: the file holds no map, so the size of the image is unknown")
    classes = sorted(content)
    try:
        scores = np.stack([np.asarray(content[c], np.float32) for c in classes])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{identifier}: the maps are no arrays of one size: {error}") from error
    if scores.ndim != 3:
        raise ValueError(f"{identifier}: a map is (H, W), these are {scores.shape[1:]}")
    return ClassScores(scores, np.asarray(classes, np.int64) - first)
