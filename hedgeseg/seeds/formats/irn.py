"""IRN's class maps (also ReCAM, AdvCAM, AMN, SIPE, CLIMS): `<id>.npy`, a pickled dictionary.

`keys`: int64 tensor (K,), classes from 0, no background; `cam`: float32 tensor (K, ceil(H/4), ceil(W/4)); `high_res`:
float32 array (K, H, W). Both maps lie in [0, 1]. `make_sem_seg_labels` calls `.cuda()` on `cam`, hence the tensors.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F

from hedgeseg.seeds.formats.class_scores import ClassScores, HasScores, arrays, checked
from hedgeseg.seeds.formats.pickled import read_dictionary, write_dictionary

STRIDE = 4


def write_irn(folder: str | os.PathLike[str], identifier: str, seed: HasScores) -> Path:
    """Write the scores of a seed as IRN's `make_cam` does; returns the path."""
    scores, classes = arrays(seed)
    classes_count, height, width = scores.shape
    small = torch.zeros(classes_count, -(-height // STRIDE), -(-width // STRIDE))
    if classes_count:
        small = F.interpolate(
            torch.from_numpy(scores)[None], size=small.shape[1:], mode="bilinear", align_corners=False
        )[0]
    return write_dictionary(
        folder, identifier, {"keys": torch.from_numpy(classes), "cam": small.contiguous(), "high_res": scores}
    )


def read_irn(folder: str | os.PathLike[str], identifier: str, *, allow_pickle: bool = False) -> ClassScores:
    """Read the full-resolution maps.

    Raises:
        FileNotFoundError: no such file.
        ValueError: `allow_pickle` is not given, or the file is of another format.
    """
    content = read_dictionary(folder, identifier, allow_pickle)
    if "keys" not in content or "high_res" not in content:
        raise ValueError(
            f"{identifier}: an IRN file has 'keys' and 'high_res', this one has {sorted(map(str, content))}"
        )
    return checked(identifier, content["high_res"], content["keys"])
