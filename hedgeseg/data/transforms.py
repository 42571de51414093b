"""albumentations pipelines: image, mask and boxes go through them together.

A random pipeline has its own generator, which neither `seed_everything` nor a DataLoader's workers seed: left alone,
workers repeat each other's augmentations and runs cannot be repeated. `reseed` ties it to torch's generator, sample by
sample, which is seeded in each of these places.
"""

from collections.abc import Sequence

import albumentations as A
import cv2
import torch
from albumentations.pytorch import ToTensorV2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def eval_transform(
    image_size: int | Sequence[int],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    keep_shape: bool = False,
) -> A.Compose:
    """Resizes the whole image to `image_size` (nothing is cut off) and normalises it; deterministic.

    Args:
        image_size: side of the square, or (height, width).
        mean: per-channel mean of images in [0, 1].
        std: per-channel standard deviation of images in [0, 1].
        keep_shape: keep the ratio of the sides; the shorter one becomes that of `image_size`.
    """
    height, width = size_pair(image_size)
    ways = {"interpolation": cv2.INTER_LINEAR, "mask_interpolation": cv2.INTER_NEAREST}
    resize = A.SmallestMaxSize(min(height, width), **ways) if keep_shape else A.Resize(height, width, **ways)
    return _compose([resize], mean, std)


def train_transform(
    image_size: int | Sequence[int],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    min_scale: float = 0.5,
) -> A.Compose:
    """Random resized crop, horizontal flip and colour jitter, then normalisation.

    The image's label does not follow the crop (image-level labels are all that weak supervision has); mask and boxes
    do.

    Args:
        image_size: side of the square, or (height, width).
        mean: per-channel mean of images in [0, 1].
        std: per-channel standard deviation of images in [0, 1].
        min_scale: smallest share of the image's area that a crop keeps, in (0, 1].
    """
    if not 0 < min_scale <= 1:
        raise ValueError(f"min_scale must lie in (0, 1], got {min_scale}")
    return _compose(
        [
            A.RandomResizedCrop(
                size=size_pair(image_size),
                scale=(min_scale, 1.0),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
            ),
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.05, 0.05), p=0.8),
        ],
        mean,
        std,
    )


def size_pair(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Reads an image size given as one number (a square) or as (height, width).

    Raises:
        ValueError: not one or two positive whole numbers.
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or any(side < 1 for side in sides):
        raise ValueError(f"image_size must be a positive number or (height, width), got {image_size!r}")
    return sides[0], sides[1]


def reseed(transform: A.Compose) -> None:
    """Seeds a pipeline from torch's generator: main process and workers then differ, and one seed repeats a run."""
    transform.set_random_seed(int(torch.randint(2**31, ())))


def _compose(steps: list[A.BasicTransform], mean: Sequence[float], std: Sequence[float]) -> A.Compose:
    return A.Compose(
        [*steps, A.Normalize(mean=tuple(mean), std=tuple(std)), ToTensorV2()],
        bbox_params=A.BboxParams(
            format="pascal_voc", label_fields=["box_labels"], clip=True, filter_invalid_bboxes=True
        ),
    )
