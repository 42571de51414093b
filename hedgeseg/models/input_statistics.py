"""What a network's images are normalised with: a property of its weights."""

from __future__ import annotations

from typing import TypeAlias

from hedgeseg.data.transforms import IMAGENET_MEAN, IMAGENET_STD

Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel of images in [0, 1]."""

_TIMM = "timm/"


def input_statistics(arch: str) -> Statistics:
    """Mean and standard deviation that an architecture's published weights were trained with.

    Those of ImageNet for torchvision and the project's own networks; timm tells its networks' own.

    Example:
        >>> input_statistics("resnet18")[0]
        (0.485, 0.456, 0.406)
    """
    if arch.startswith(_TIMM):
        from timm.models import get_pretrained_cfg

        found = get_pretrained_cfg(arch.removeprefix(_TIMM))
        if found is not None:
            return tuple(float(value) for value in found.mean), tuple(float(value) for value in found.std)
    return IMAGENET_MEAN, IMAGENET_STD
