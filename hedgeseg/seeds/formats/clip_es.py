"""CLIP-ES's class maps: `<id>.npy`, a pickled dictionary of `keys` (K,) and `attn_highres` float16 (K, H, W)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hedgeseg.seeds.formats.class_scores import ClassScores, HasScores, arrays, checked
from hedgeseg.seeds.formats.pickled import read_dictionary, write_dictionary


def write_clip_es(folder: str | os.PathLike[str], identifier: str, seed: HasScores) -> Path:
    """Write the scores of a seed, rounded to float16; returns the path."""
    scores, classes = arrays(seed)
    return write_dictionary(folder, identifier, {"keys": classes, "attn_highres": scores.astype(np.float16)})


def read_clip_es(folder: str | os.PathLike[str], identifier: str, *, allow_pickle: bool = False) -> ClassScores:
    """Read the maps.

    Raises:
        FileNotFoundError: no such file.
        ValueError: `allow_pickle` is not given, or the file is of another format.
    """
    content = read_dictionary(folder, identifier, allow_pickle)
    if "keys" not in content or "attn_highres" not in content:
        raise ValueError(
            f"{identifier}: a CLIP-ES file has 'keys' and 'attn_highres', this one has {sorted(map(str, content))}"
        )
    return checked(identifier, content["attn_highres"], content["keys"])
