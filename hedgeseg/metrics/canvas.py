"""What stands in for the pixels a perturbation metric takes away.

The ranking of methods depends on it, so it is always named. Pixels are pasted before normalisation; because pasting
is per pixel and blurring acts on each channel alone, doing both in normalised values gives the same image.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

__all__ = ["CANVASES", "IMAGENET_MEAN", "IMAGENET_STD", "Canvas", "make_canvas"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Canvas: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def _vignette(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    # The paper's canvas at 224 pixels is 255 exp(-r^2 / (2 * 64^2)); sigma scales with the image's sides.
    height, width = images.shape[2:]
    rows, columns = (
        ((torch.arange(side, device=images.device, dtype=images.dtype) - (side - 1) / 2) * 224 / (64 * side)).square()
        for side in (height, width)
    )
    grey = torch.exp(-(rows[:, None] + columns) / 2)
    return ((grey - mean) / std).expand(images.shape)


def _mean(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return torch.zeros_like(images)


def _black(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (-mean / std).expand(images.shape)


def _blur(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return gaussian_blur(images, [11, 11], [5.0, 5.0])


CANVASES: dict[str, Canvas] = {"vignette": _vignette, "mean": _mean, "black": _black, "blur": _blur}
"""vignette: grey Gaussian spot (the paper's); mean: the training mean, 0 after normalisation; black: RGB 0;
blur: the image blurred with an 11 x 11 Gaussian of sigma 5 (RISE)."""


def make_canvas(
    name: str,
    images: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """Return the canvas of each image.

    Args:
        name: a key of `CANVASES`.
        images: float `(B, C, H, W)`, normalised as `(rgb - mean) / std` with rgb in [0, 1].
        mean: of each channel, what `images` were normalised with.
        std: likewise.

    Returns:
        float `(B, C, H, W)`, normalised like `images`.

    Raises:
        ValueError: if the name is unknown or `mean` and `std` do not have one value per channel.
    """
    if name not in CANVASES:
        raise ValueError(f"canvas {name!r} is unknown; choose one of {', '.join(CANVASES)}")
    if not len(mean) == len(std) == images.shape[1]:
        raise ValueError(f"mean and std need {images.shape[1]} values each, one per channel, got {mean} and {std}")
    shape = (1, -1, 1, 1)
    return CANVASES[name](images, images.new_tensor(list(mean)).view(shape), images.new_tensor(list(std)).view(shape))
