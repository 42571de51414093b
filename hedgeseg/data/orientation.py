"""Cameras write down how a picture is to be turned; annotations may have been drawn before or after the turn.

`read_image` gives every picture upright. Here is what brings boxes and masks there too: the size that the annotation
was made for tells which pixels it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

Size = tuple[int, int]
Frame = Literal["stored", "upright"]
UPRIGHT = 1
_SWAPPING = frozenset({5, 6, 7, 8})  # EXIF's values that exchange height and width


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels.

    Attributes:
        stored: (height, width) of the pixels in the file.
        orientation: EXIF's value, 1 (upright) to 8.
    """

    stored: Size
    orientation: int = UPRIGHT

    @property
    def upright(self) -> Size:
        """(height, width) of the picture as it is shown."""
        return self.stored[::-1] if self.orientation in _SWAPPING else self.stored

    @property
    def told_by_size(self) -> bool:
        """Whether a size tells stored pixels from upright ones."""
        return self.stored != self.upright


def read_header(path: Path) -> Header:
    """Size and orientation of an image file; its pixels are not decoded.

    Raises:
        OSError: the file is missing or no image.
    """
    with Image.open(path) as file:
        orientation = file.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
        if orientation not in range(1, 9):
            orientation = UPRIGHT
        width, height = file.size
        if file.format == "TIFF" and orientation in _SWAPPING:  # Pillow gives the size after the turn there
            width, height = height, width
    return Header((height, width), orientation)


def turn_of(header: Header, annotated: Size | None, undecided: Frame = "stored") -> int:
    """EXIF's value of the turn that brings an annotation upright: 1 where it is upright already.

    Args:
        header: of the image file.
        annotated: (height, width) the annotation was made for; None if it does not say.
        undecided: what is assumed where the size does not tell: half turns, mirrored and square pictures.

    Raises:
        ValueError: the annotation is for a picture of another size.
    """
    if annotated is not None and annotated not in (header.stored, header.upright):
        raise ValueError(
            f"it was annotated at {annotated[0]} x {annotated[1]} but the file is {header.stored[0]} x "
            f"{header.stored[1]} (height x width): was it resized since? Scale one of them"
        )
    if annotated is not None and header.told_by_size:
        return header.orientation if annotated == header.stored else UPRIGHT
    return header.orientation if undecided == "stored" else UPRIGHT


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An array (H, W, ...) in the frame of the file, upright."""
    if orientation in _SWAPPING:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def turned_boxes(boxes: np.ndarray, orientation: int, upright: Size) -> np.ndarray:
    """Boxes (n, 4), x0 y0 x1 y1 in the frame of the file, in that of the upright picture of size (height, width)."""
    x0, y0, x1, y1 = np.asarray(boxes, np.float32).reshape(-1, 4).T
    if orientation in _SWAPPING:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation in (3, 4, 7, 8):
        y0, y1 = upright[0] - y1, upright[0] - y0
    if orientation in (2, 3, 6, 7):
        x0, x1 = upright[1] - x1, upright[1] - x0
    return np.stack([x0, y0, x1, y1], axis=1)


def usual_frame(headers: Sequence[Header], annotated: Sequence[Size | None]) -> Frame:
    """What the turned pictures of one annotation tool say, for those whose size does not tell; "stored" without any."""
    told = [
        size == header.upright
        for header, size in zip(headers, annotated, strict=True)
        if header.told_by_size and size in (header.stored, header.upright)
    ]
    return "upright" if sum(told) * 2 > len(told) else "stored"
