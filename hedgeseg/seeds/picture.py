"""The picture a refiner looks at: uint8 RGB of the seed's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hedgeseg.seeds.multiscale import resize

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def as_picture(
    picture: np.ndarray | Tensor | None,
    image: Tensor,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """The given picture, checked, or the image with its normalisation undone, at `size`.

    Args:
        picture: uint8 (H, W, 3) or None.
        image: float (C, h, w), normalised with mean and std.
        size: (height, width) wanted.
        mean: per channel.
        std: per channel.

    Returns:
        uint8 (H, W, 3) on the image's device.

    Raises:
        ValueError: a picture of another size or type, or a mean that does not fit the image.
    """
    if picture is None:
        return denormalise(resize(image, size), mean, std)
    shown = torch.as_tensor(picture, device=image.device)
    if shown.dtype != torch.uint8 or tuple(shown.shape) != (*size, 3):
        raise ValueError(
            f"picture must be uint8 of shape {(*size, 3)} (the seed's size), got {shown.dtype} {tuple(shown.shape)}"
        )
    return shown


def denormalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (H, W, 3) picture of a normalised float image (C, H, W); one channel is shown as grey.

    Raises:
        ValueError: as many means or stds as fit neither the channels nor one value, more than three channels, or an
            image that was plainly normalised with other values.
    """
    channels = image.shape[0]
    if channels not in (1, 3):
        raise ValueError(f"a picture needs 1 or 3 channels, this image has {channels}; pass `picture` to the generator")
    if len(mean) not in (1, channels) or len(std) != len(mean):
        raise ValueError(f"image has {channels} channels, but mean has {len(mean)} and std {len(std)} values")
    shift = image.new_tensor(list(mean)).view(-1, 1, 1)
    scale = image.new_tensor(list(std)).view(-1, 1, 1)
    values = (image * scale + shift) * 255
    outside = float(((values < -1) | (values > 256)).float().mean())
    if outside > 0.5:
        raise ValueError(
            f"undoing mean {tuple(mean)} and std {tuple(std)} puts {outside:.0%} of the pixels outside 0 to 255; "
            "tell the generator the mean and std of your images, or pass `picture`"
        )
    return values.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).expand(-1, -1, 3).contiguous()
