"""Masks of a segmentation network: `<id>.png`, 8 or 16 bits, and `<id>.npz` with how sure each pixel is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.seeds.formats.palette import write_mask

NARROW = 254
"""Most classes whose masks have 8 bits; masks of more have 16, and their void is 65535."""


def write_prediction(
    folder: str | os.PathLike[str],
    identifier: str,
    mask: np.ndarray | Tensor,
    num_classes: int,
    confidence: np.ndarray | Tensor | None = None,
) -> Path:
    """Write a mask, and its confidence before it: where the mask is, the prediction is complete; returns its path.

    Args:
        folder: made if it does not exist.
        identifier: image id; may name subfolders with `/`.
        mask: integers (H, W): 0 background, class + 1, void.
        num_classes: decides the bits: palette PNG of 8 bits up to 254 classes, grey PNG of 16 bits beyond.
        confidence: float (H, W) in [0, 1], kept as float16; None writes the mask alone.

    Raises:
        ValueError: an identifier that would leave the folder, or a mask that is not (H, W).
    """
    labels = np.asarray(mask)
    if labels.ndim != 2:
        raise ValueError(f"mask must be (H, W), got {labels.shape}")
    if confidence is not None:
        path = file_in(folder, identifier, ".npz")
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, confidence=np.asarray(confidence).astype(np.float16))
    if num_classes <= NARROW:
        return write_mask(folder, identifier, labels.astype(np.uint8))
    path = file_in(folder, identifier, ".png")
    with replacing(path) as temporary:
        Image.fromarray(labels.astype(np.uint16)).save(temporary, format="PNG")
    return path


def has_prediction(folder: str | os.PathLike[str], identifier: str) -> bool:
    """Whether the mask of an image is there, which is written last."""
    return file_in(folder, identifier, ".png").is_file()
