"""albumentations pipelines: image, mask and boxes go through them together. Only this module imports albumentations.

A random pipeline has its own generator, which neither `seed_everything` nor a DataLoader's workers seed: left alone,
workers repeat each other's augmentations and runs cannot be repeated. `reseed` ties it to torch's generator, sample by
sample, which is seeded in each of these places.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch

from hedgeseg.data.environment import environment
from hedgeseg.data.fit import Fit, Size, fitted_size, resized, size_pair, usual_fit

# Without it albumentations asks a server for its newest version while it is imported.
with environment(NO_ALBUMENTATIONS_UPDATE="1"):
    import albumentations as A
    from albumentations.pytorch import ToTensorV2


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MIN_SCALE = 0.5
"""Share of a picture that a random crop keeps at least. A label does not follow the crop: where it is of something
small, crops of half of the picture may cut that off."""


class Normalised:
    """The pipeline of images that have the network's size already: a table of 256 numbers per channel, and no more.

    Gives what `eval_transform` gives for such an image, at a fraction of the time, which for small images goes into
    looking after boxes that nothing moves.

    Args:
        mean: per-channel mean of images in [0, 1].
        std: per-channel standard deviation of images in [0, 1].
    """

    transforms: tuple[Any, ...] = ()

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        centre, spread = (255 * np.array(values, np.float32)[:, None] for values in (mean, std))
        self.table = ((np.arange(256, dtype=np.float32) - centre) * np.reciprocal(spread)).astype(np.float32)

    def __call__(self, image: np.ndarray, **rest: Any) -> dict[str, Any]:
        """The image uint8 (H, W, C) as float (C, H, W); mask and boxes as they are."""
        pixels = np.stack([row[image[..., channel]] for channel, row in enumerate(self.table)], axis=-1)
        return {"image": torch.from_numpy(pixels).permute(2, 0, 1), **rest}

    def set_random_seed(self, seed: int) -> None:
        """Nothing here draws."""

    def to_dict(self) -> dict[str, Any]:
        """What decides the result, as JSON holds it: the numbers that 0 and 255 become."""
        return {"normalised": self.table[:, [0, -1]].tolist()}


Pipeline: TypeAlias = A.Compose | Normalised
"""What samples go through."""


def eval_transform(
    image_size: int | Sequence[int],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    keep_shape: bool = False,
    fit: Fit | None = None,
) -> A.Compose:
    """Fits the whole image to `image_size` (nothing is cut off) and normalises it; deterministic.

    Args:
        image_size: side of the square, or (height, width).
        mean: per-channel mean of images in [0, 1]; also the colour of padding.
        std: per-channel standard deviation of images in [0, 1].
        keep_shape: the same as `fit="short"`.
        fit: how, as `hedgeseg.data.fit` has it; None keeps the picture's shape inside a square (`letterbox`) and
            stretches it to a (height, width).
    """
    way = usual_fit(image_size, "short" if keep_shape else fit)
    return _compose([_fitted(image_size, way, mean)], mean, std)


def train_transform(
    image_size: int | Sequence[int],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    min_scale: float = MIN_SCALE,
    crop: int | None = None,
    long_sides: Sequence[int] | None = None,
) -> A.Compose:
    """Random crop, horizontal flip and colour jitter, then normalisation.

    The image's label does not follow the crop (image-level labels are all that weak supervision has); mask and boxes
    do.

    Args:
        image_size: side of the square, or (height, width).
        mean: per-channel mean of images in [0, 1].
        std: per-channel standard deviation of images in [0, 1].
        min_scale: smallest share of the image's area that a crop keeps, in (0, 1]; crops are resized to `image_size`.
        crop: instead, a square of so many pixels of the picture whose short side is `image_size`: its resolution for
            the memory of the square. It must be large enough to show what the label says.
        long_sides: with `crop`, the picture's long side is drawn from this range first, (320, 640) in the usual
            training of weakly supervised segmentation; what is smaller than the square lies somewhere in it.

    Raises:
        ValueError: a share or a crop out of range.
    """
    if not 0 < min_scale <= 1:
        raise ValueError(f"min_scale must lie in (0, 1], got {min_scale}")
    size = size_pair(image_size)
    if long_sides is not None:
        if crop is None or crop < 1 or not (len(long_sides) == 2 and 1 <= long_sides[0] <= long_sides[1]):
            raise ValueError(
                f"long_sides is a range of pixels such as [320, 640] and goes with crop, got {long_sides}, crop={crop}"
            )
        cut: list[A.BasicTransform] = _cut_from_scaled((long_sides[0], long_sides[1]), crop, mean)
    elif crop is None:
        ratio = size[1] / size[0]
        cut = [
            A.RandomResizedCrop(
                size=size,
                scale=(min_scale, 1.0),
                ratio=(ratio * 3 / 4, ratio * 4 / 3),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                area_for_downscale="image",
            )
        ]
    else:
        if not 1 <= crop <= min(size):
            raise ValueError(f"crop is a number of pixels from 1 to image_size, {min(size)}, got {crop}")
        cut = [_fitted(min(size), "short", mean), A.RandomCrop(crop, crop)]
    jitter = A.ColorJitter(brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.05, 0.05), p=0.8)
    return _compose([*cut, A.HorizontalFlip(p=0.5), jitter], mean, std)


def _cut_from_scaled(sides: tuple[int, int], crop: int, mean: Sequence[float]) -> list[A.BasicTransform]:
    return [
        A.LongestMaxSize(
            max_size=list(range(sides[0], sides[1] + 1)),
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            area_for_downscale="image",
        ),
        A.PadIfNeeded(
            crop, crop, position="random", border_mode=cv2.BORDER_CONSTANT, fill=[255 * v for v in mean], fill_mask=255
        ),
        A.RandomCrop(crop, crop),
    ]


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


def content_size(transform: Pipeline, size: Size, shape: Size) -> Size:
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


def reseed(transform: Pipeline) -> None:
    """Seeds a pipeline from torch's generator: main process and workers then differ, and one seed repeats a run."""
    transform.set_random_seed(int(torch.randint(2**31, ())))


def _fitted(image_size: int | Sequence[int], fit: Fit, mean: Sequence[float]) -> Fitted:
    return Fitted(size_pair(image_size), fit, [255 * value for value in mean])


def _compose(steps: list[A.BasicTransform], mean: Sequence[float], std: Sequence[float]) -> Pipeline:
    return A.Compose(
        [*steps, A.Normalize(mean=tuple(mean), std=tuple(std)), ToTensorV2()],
        bbox_params=A.BboxParams(
            format="pascal_voc", label_fields=["box_labels"], clip=True, filter_invalid_bboxes=True
        ),
    )
