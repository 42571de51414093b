"""Score maps of the WSOL evaluation (Choe et al. 2020): `<image id>.npy`, one float map (H, W) in [0, 1], no pickle.

The format knows one class per image and does not say which.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hedgeseg.seeds.formats.class_scores import ClassScores, HasScores, arrays
from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.seeds.formats.numpy_files import read_array
from hedgeseg.seeds.formats.pickled import existing


def write_wsol(folder: str | os.PathLike[str], identifier: str, seed: HasScores) -> Path:
    """Write the only map of a seed; returns the path.

    Raises:
        ValueError: the seed has no class or several.
    """
    scores, classes = arrays(seed)
    if len(classes) != 1:
        raise ValueError(
            f"{identifier}: a WSOL map is of one class, this seed has classes {classes.tolist()}; make it for one"
        )
    path = file_in(folder, identifier, ".npy")
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, scores[0], allow_pickle=False)
    return path


def read_wsol(folder: str | os.PathLike[str], identifier: str, *, class_index: int = 0) -> ClassScores:
    """Read a map as the scores of `class_index`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is of another format, or damaged.
    """
    path = existing(folder, identifier)
    try:
        scores = read_array(path)
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(f"{path} holds a pickle; a WSOL map is a plain array") from error
        raise
    if not isinstance(scores, np.ndarray) or scores.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds no numbers; a WSOL map is a plain array")
    if scores.ndim != 2:
        raise ValueError(f"{path} holds an array {scores.shape}; a WSOL map is (H, W)")
    return ClassScores(scores[None].astype(np.float32), np.array([class_index], np.int64))
