"""The photograph behind an image: what a refiner looks at, and what other scales are taken from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hedgeseg.seeds.multiscale import resize
from hedgeseg.visual import denormalise


def picture_for(
    given: np.ndarray | Tensor | None,
    image: Tensor,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """The given picture, checked, or the image with its normalisation undone, at `size`.

    Args:
        given: uint8 (H, W, 3) or None.
        image: float (C, h, w), normalised with mean and std.
        size: (height, width) wanted.
        mean: one value, or one per channel.
        std: one value, or one per channel.

    Returns:
        uint8 (H, W, 3) on the image's device.

    Raises:
        ValueError: a picture of another size or type, or an image that was plainly normalised with other values.
    """
    if given is None:
        _check_normalised(image, mean, std)
        shown = denormalise(resize(image, size).float().cpu().numpy(), mean, std)
        return torch.from_numpy(shown).to(image.device)
    picture = as_picture(given).to(image.device)
    if tuple(picture.shape[:2]) != size:
        raise ValueError(
            f"picture must be uint8 of shape {(*size, 3)} (the seed's size), got {tuple(picture.shape)}; give the size "
            "of the picture as size"
        )
    return picture


def as_picture(given: np.ndarray | Tensor) -> Tensor:
    """The given picture as a tensor, checked.

    Raises:
        ValueError: not uint8 (H, W, 3).
    """
    # A copy: photographs read by PIL may not be written to, which torch warns of.
    picture = torch.as_tensor(np.array(given) if isinstance(given, np.ndarray) else given)
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture must be uint8 (H, W, 3), got {picture.dtype} {tuple(picture.shape)}")
    return picture


def detail_of(picture: np.ndarray | Tensor, image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The picture as the network takes it: normalised, of the image's type and on its device, in all its pixels.

    Raises:
        ValueError: not uint8 (H, W, 3), or an image of another number of channels.
    """
    pixels = as_picture(picture).to(image.device).permute(2, 0, 1).to(image.dtype) / 255
    if len(image) != len(pixels):
        raise ValueError(f"other scales are taken from a picture of 3 channels, but the image has {len(image)}")
    shift, scale = (image.new_tensor(list(values)).view(-1, 1, 1) for values in (mean, std))
    return (pixels - shift) / scale


def _check_normalised(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> None:
    """A picture that is mostly clipped to black and white would mislead the refiner without a sign."""
    shift, scale = (image.new_tensor(list(values)).view(-1, 1, 1) for values in (mean, std))
    if len(shift) not in (1, len(image)) or len(scale) not in (1, len(image)):
        raise ValueError(
            f"image has {len(image)} channels, but mean has {len(shift)} and std {len(scale)} values: give the "
            "generator one value or one per channel, or pass `picture`"
        )
    values = image * scale + shift
    outside = float(((values < -0.01) | (values > 1.01)).float().mean())
    if outside > 0.5:
        raise ValueError(
            f"undoing mean {tuple(mean)} and std {tuple(std)} puts {outside:.0%} of the pixels outside [0, 1]; "
            "tell the generator the mean and std of your images, or pass `picture`"
        )
