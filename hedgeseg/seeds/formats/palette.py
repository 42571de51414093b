"""Masks as palette PNG, the way PASCAL VOC stores them: one byte per pixel is the label, the palette its colour."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from hedgeseg.label_image import NoLabelImageError, read_label_image
from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.visual import voc_palette


def write_mask(folder: str | os.PathLike[str], identifier: str, mask: np.ndarray | Tensor) -> Path:
    """Write a uint8 (H, W) mask as `<identifier>.png`, mode P with the VOC palette; returns the path.

    Raises:
        ValueError: a mask that is not uint8 (H, W).
    """
    labels = np.asarray(mask)
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(f"mask must be uint8 (H, W), got {labels.dtype} {labels.shape}")
    image = Image.fromarray(labels)
    # On a grey image this keeps the bytes and changes the mode to P.
    image.putpalette(voc_palette().tobytes())
    path = file_in(folder, identifier, ".png")
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)
    return path


def read_mask(folder: str | os.PathLike[str], identifier: str) -> np.ndarray:
    """Read a mask of mode P (any palette) or L (raw labels) as uint8 (H, W).

    Raises:
        FileNotFoundError: no such file.
        ValueError: a colour picture instead of a label image, or a damaged file.
    """
    path = file_in(folder, identifier, ".png")
    if not path.is_file():
        raise FileNotFoundError(f"there is no mask {path}")
    try:
        return read_label_image(path)
    except NoLabelImageError as error:
        raise ValueError(f"{error}; this looks like a picture of a mask") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is damaged or no picture ({error}); make it again") from error
