"""How a picture of any shape becomes the input of a network.

| fit         | the picture                                                     | input                              |
|-------------|-----------------------------------------------------------------|------------------------------------|
| `letterbox` | keeps its shape, as large as fits into `image_size`             | `image_size`, the rest is padding  |
| `long`      | keeps its shape, its long side is that of `image_size`          | as large as the picture            |
| `short`     | keeps its shape, its short side is that of `image_size`         | as large as the picture            |
| `squash`    | is stretched to `image_size`                                    | `image_size`                       |

Shrinking averages over the pixels that fall together (area), so that what is three pixels wide in a large photograph is
paler in a small one, but there; enlarging is bilinear. Masks take the nearest pixel.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np

Fit = Literal["letterbox", "long", "short", "squash"]
Size = tuple[int, int]


def size_pair(image_size: int | Sequence[int]) -> Size:
    """Reads an image size given as one number (a square) or as (height, width).

    Raises:
        ValueError: not one or two positive whole numbers.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or any(side < 1 for side in sides):
        raise ValueError(f"image_size must be a positive number or (height, width), got {image_size!r}")
    return sides[0], sides[1]


def usual_fit(image_size: int | Sequence[int], fit: Fit | None) -> Fit:
    """The fit that is meant: the given one; else `letterbox` for one number, and `squash` for a height and a width.

    Raises:
        ValueError: there is no such fit.
    """
    if fit is None:
        return "letterbox" if isinstance(image_size, int) else "squash"
    if fit not in get_args(Fit):
        raise ValueError(f"fit is one of {', '.join(get_args(Fit))}, got {fit!r}")
    return fit


def fitted_size(size: Size, image_size: Size, fit: Fit) -> Size:
    """(height, width) that a picture of a size gets.

    Sides that are not given by `image_size` are odd or even as those are: networks of stride 32 want even sides, those
    whose padding comes from TensorFlow odd ones.
    """
    if fit == "squash":
        return image_size
    ratios = [wanted / side for wanted, side in zip(image_size, size, strict=True)]
    scale = max(ratios) if fit == "short" else min(ratios)

    def side(pixels: int, wanted: int) -> int:
        length = max(1, wanted % 2 + 2 * round((pixels * scale - wanted % 2) / 2))
        return length if fit == "short" else min(length, wanted)

    return side(size[0], image_size[0]), side(size[1], image_size[1])


def resized(image: np.ndarray, size: Size) -> np.ndarray:
    """An image (H, W, C) at another size: by area where it shrinks, bilinear where it grows, each side for itself."""
    height, width = image.shape[:2]
    low, small = min(height, size[0]), min(width, size[1])
    if (low, small) != (height, width):
        image = cv2.resize(image, (small, low), interpolation=cv2.INTER_AREA)
    if (low, small) != size:
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return image
