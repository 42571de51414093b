"""Image files whose pixels are numbers of labels, not colours."""

from pathlib import Path

import numpy as np
from PIL import Image

_MODES = {8: ("P", "L"), 16: ("I;16", "I")}


class NoLabelImageError(ValueError):
    """A file whose pixels are colours, or of another number of bits; the message names its mode."""


def read_label_image(path: Path, bits: int = 8) -> np.ndarray:
    """Reads the numbers of a palette or grey image, (H, W): uint8, or what 16 bits are stored as.

    Args:
        path: of the file.
        bits: 8 or 16.

    Raises:
        OSError: the file is missing, damaged or no image.
        NoLabelImageError: it holds colours, or numbers of other bits.
    """
    with Image.open(path) as file:
        if file.mode not in _MODES[bits]:
            wanted = " or ".join(_MODES[bits])
            raise NoLabelImageError(f"mask {path} has mode {file.mode}, expected ids of {bits} bits ({wanted})")
        return np.array(file)
