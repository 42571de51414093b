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
from typing import Any, Literal, get_args

import albumentations as A
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


class Fitted(A.DualTransform):
    """The step of a pipeline that fits image, mask and boxes to the input; padding is below and to the right.

    Args:
        image_size: (height, width).
        fit: see the module.
        fill: colour of the padding, 0 to 255 per channel.
    """

    def __init__(self, image_size: Size, fit: Fit, fill: Sequence[float]) -> None:
        super().__init__(p=1)
        self.image_size = image_size
        self.fit = fit
        self.fill = tuple(fill)

    def content(self, size: Size) -> Size:
        """(height, width) that a picture of a size takes up, from the upper left corner of the input."""
        return fitted_size(size, self.image_size, self.fit)

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """The image."""
        return self._padded(resized(img, self.content(img.shape[:2])), self.fill)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> np.ndarray:
        """The mask, with 0 as padding."""
        height, width = self.content(mask.shape[:2])
        return self._padded(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), (0,))

    def apply_to_bboxes(self, bboxes: np.ndarray, **params: Any) -> np.ndarray:
        """Boxes as shares of the input's sides."""
        if self.fit != "letterbox":
            return bboxes
        height, width = self.content(params["shape"][:2])
        moved = np.array(bboxes)
        moved[:, :4] *= np.array([width / self.image_size[1], height / self.image_size[0]] * 2)
        return moved

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """What the step is made of, for its representation."""
        return ("image_size", "fit", "fill")

    def _padded(self, pixels: np.ndarray, fill: Sequence[float]) -> np.ndarray:
        if self.fit != "letterbox":
            return pixels
        below, right = (want - have for want, have in zip(self.image_size, pixels.shape[:2], strict=True))
        if not below and not right:
            return pixels
        return cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=tuple(fill))


def content_size(transform: A.Compose, size: Size, shape: Size) -> Size:
    """(height, width) of the input, from its upper left corner, that shows the picture; the rest is padding.

    Args:
        transform: the pipeline.
        size: (height, width) of the picture.
        shape: (height, width) of the input.
    """
    fitted = next((step for step in transform.transforms if isinstance(step, Fitted)), None)
    if fitted is None:
        return shape
    height, width = fitted.content(size)
    return min(height, shape[0]), min(width, shape[1])


def resized(image: np.ndarray, size: Size) -> np.ndarray:
    """An image (H, W, C) at another size: by area where it shrinks, bilinear where it grows, each side for itself."""
    height, width = image.shape[:2]
    low, small = min(height, size[0]), min(width, size[1])
    if (low, small) != (height, width):
        image = cv2.resize(image, (small, low), interpolation=cv2.INTER_AREA)
    if (low, small) != size:
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return image
