"""What the figures of the documentation show: a cat and a cup in one photograph, and a network that knows both.

Needs `hedgeseg[skimage]`. The photographs come with scikit-image and are in the public domain (CC0): Chelsea by Stefan
van der Walt, the cup of coffee by Rachel Michetti.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor, nn

from hedgeseg.models import GroupedLogits, build_network
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD, Picture, contact_sheet, same_size

SEEN = (225, 673)
"""Height and width of what MobileNetV2 sees: a multiple of its stride of 32 and one more, so nothing is cut off."""

SHOWN = (200, 599)
"""Height and width of a panel."""

CLASSES = {"cat": (281, 282, 283, 284, 285), "cup": (504, 967, 968)}
"""ImageNet's classes of each: tabby to Egyptian cat; coffee mug, espresso and cup."""


def photograph(size: tuple[int, int]) -> Picture:
    """The cat on the left, the cup on the right: uint8 (height, width, 3)."""
    height, width = size
    pictures = (skimage.data.chelsea(), skimage.data.coffee())
    widths = (width - width // 2, width // 2)
    resized = [
        np.asarray(Image.fromarray(picture).resize((wide, height), Image.Resampling.LANCZOS))
        for picture, wide in zip(pictures, widths, strict=True)
    ]
    return np.concatenate(resized, axis=1)


def images() -> Tensor:
    """The photograph as the network takes it: float32 (1, 3, H, W)."""
    pixels = torch.from_numpy(photograph(SEEN)).permute(2, 0, 1)[None].float() / 255
    return (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def network(weights: str) -> nn.Module:
    """MobileNetV2 with two logits: log-sum-exp over the classes of a cat, and of a cup."""
    return GroupedLogits(build_network("mobilenet_v2", 1000, weights), list(CLASSES.values())).eval()


def sheet(panels: Mapping[str, Picture]) -> Picture:
    """The panels in rows of two, each under its caption."""
    names, wide = list(panels), SHOWN[::-1]
    drawn = [np.asarray(Image.fromarray(panel).resize(wide, Image.Resampling.LANCZOS)) for panel in panels.values()]
    rows = [contact_sheet([drawn[i : i + 2]], names[i : i + 2], margin=4) for i in range(0, len(drawn), 2)]
    return np.concatenate(same_size(rows))
