"""From pixel values of any depth to the eight bits that everything else works with.

Files seldom say what their brightest value stands for: cameras and scanners keep 10, 12 or 14 bits in files of 16. The
values tell: the range is the smallest of the usual ones that holds them, so a file of 12 bits is as bright as the same
picture of 16. (A frame so dark that it fits a smaller range is brightened by it.)

| values                                   | range                                     |
|------------------------------------------|-------------------------------------------|
| whole numbers, none negative             | 8, 10, 12, 14 or 16 bits                  |
| fractions in [0, 1]                      | [0, 1]                                    |
| other fractions, none negative           | 8, 10, 12, 14 or 16 bits                  |
| anything else: negative ones, larger     | from the smallest to the largest value    |

NaN is the darkest value, infinities are the extremes.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_BITS = (8, 10, 12, 14, 16)
_SINGLE = frozenset({"I", "F"})


def is_deep(file: Image.Image) -> bool:
    """Whether Pillow would lose what an opened image holds beyond eight bits."""
    if file.mode in _SINGLE or file.mode.startswith("I;16"):
        return True
    tiles = getattr(file, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(raw, str) and ";16" in raw


def read_deep(path: Path) -> np.ndarray | None:
    """An image file with all its bits, as uint8 (H, W, 3) RGB, not turned; None if it cannot be read.

    Colours of 16 bits, and kinds of TIFF that Pillow does not know, are OpenCV's.
    """
    content = np.fromfile(path, np.uint8)
    try:
        stored = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    except cv2.error:
        return None
    if stored is None or (stored.ndim == 3 and stored.shape[2] not in (1, 3, 4)):
        return None
    if stored.ndim == 2 or stored.shape[2] == 1:
        return np.repeat(eight_bits(stored).reshape(*stored.shape[:2], 1), 3, axis=2)
    colours = eight_bits(stored[..., 2::-1])
    if stored.shape[2] == 3:
        return colours
    opaque = stored[..., 3:].astype(np.float32) / _largest(stored.dtype)
    return np.rint(colours * opaque + 255 * (1 - opaque)).astype(np.uint8)  # on a white ground


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Pixel values of any type as uint8 of the same shape, by the range they are in."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    fractions = not np.issubdtype(values.dtype, np.integer)
    if low >= 0 and fractions and high <= 1:
        return np.rint(numbers * 255).astype(np.uint8)
    bits = next((bits for bits in _BITS if high < 2**bits), None)
    if low < 0 or bits is None:
        return np.rint((numbers - low) * (255 / ((high - low) or 1))).astype(np.uint8)
    return (numbers / 2 ** (bits - 8)).astype(np.uint8)  # the high byte


def _largest(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0
