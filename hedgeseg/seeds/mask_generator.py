"""MaskGenerator: from a segmentation network to a mask at the picture's own size, with how sure each pixel is.

The path: softmax of every view (scales, mirror image), their mean, classes the image does not have left out, brought to
the picture's size, optionally refined, argmax, and void where the answer is not sure enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hedgeseg.seeds.describe import described
from hedgeseg.seeds.multiscale import resize, unflip, views
from hedgeseg.seeds.picture import picture_for
from hedgeseg.seeds.refine import Refine, as_refiner, refined, refiner_of
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a segmentation network says of one image.

    Attributes:
        mask: int64 (H, W); 0 background, class + 1, void where it is not sure.
        confidence: float32 (H, W) in [0, 1], probability of the label that won.
        shares: float64 (1 + K,): of the pixels that each label won, before void.
    """

    mask: Tensor
    confidence: Tensor
    shares: Tensor


class MaskGenerator:
    """Makes the mask of one image with a segmentation network.

    ```python
    generator = MaskGenerator(flip=True, refine="pamr")
    found = generator(segmenter, image, size=(375, 500))
    found.mask  # (375, 500)
    ```

    Args:
        scales: factors of the image side to look at; probabilities of all views are averaged.
        flip: also look at the mirrored image.
        refine: None or a refiner as in `SeedGenerator`.
        refine_side: longest side in pixels at which a refiner works.
        ignore_below: pixels whose winner has a lower probability become void.
        band: two shares of foreground, (low, high): a pixel is foreground where all classes together have more than
            `high`, background where they have less than `low`, and void between.
        mean: per channel, what the image was normalised with; used to show the refiner a picture.
        std: see `mean`.

    Raises:
        ValueError: a value out of range, or an unknown refiner.
    """

    def __init__(
        self,
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        refine: Refine = None,
        *,
        refine_side: int = 1024,
        ignore_below: float = 0.0,
        band: Sequence[float] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f"scales must be one or more positive factors such as (0.75, 1.0), got {scales}")
        if not 0 <= ignore_below <= 1:
            raise ValueError(f"ignore_below is a probability in [0, 1], got {ignore_below}")
        if band is not None and not (len(band) == 2 and 0 <= band[0] <= band[1] <= 1):
            raise ValueError(f"band is two shares 0 <= low <= high <= 1, such as (0.3, 0.6), got {band}")
        if refine_side < 1:
            raise ValueError(f"refine_side is a number of pixels such as 1024, got {refine_side}")
        self.scales = tuple(float(scale) for scale in scales)
        self.flip = flip
        self.refine = refine
        self.refiner = as_refiner(refine)
        self.refine_side = refine_side
        self.ignore_below = ignore_below
        self.band = None if band is None else (float(band[0]), float(band[1]))
        self.mean = tuple(mean)
        self.std = tuple(std)

    @torch.no_grad()
    def __call__(
        self,
        network: nn.Module,
        image: Tensor,
        *,
        size: tuple[int, int] | None = None,
        picture: np.ndarray | Tensor | None = None,
        classes: Sequence[int] | None = None,
        void: int = 255,
        name: str | None = None,
    ) -> Segmentation:
        """Mask of one image.

        Args:
            network: gives logits (N, 1 + K, H, W), background first, of images (N, C, H, W).
            image: float (C, H, W), normalised as the network takes it.
            size: (height, width) of the mask; the image's own without it.
            picture: uint8 (H, W, 3) of that size for the refiner.
            classes: indices of the classes that the image may show; all of them if None.
            void: what pixels that are not sure are written as.
            name: id of the image, by which a refiner finds its regions.

        Raises:
            ValueError: not one image, logits of another shape, or a class that the network does not know.
        """
        if image.ndim != 3:
            raise ValueError(f"a mask is made of one image (C, H, W), got {tuple(image.shape)}; loop over a batch")
        size = size or (int(image.shape[-2]), int(image.shape[-1]))
        coarse = self._probabilities(network, image)
        labels = len(coarse)
        kept = _kept(coarse, classes)
        coarse = coarse[kept]
        coarse = coarse / coarse.sum(0, keepdim=True).clamp(min=torch.finfo(coarse.dtype).tiny)
        # A label with less than an even share in every cell can win no pixel between cells either: large masks of many
        # classes need not hold them.
        able = coarse.flatten(1).amax(1) >= 1 / len(kept)
        able[0] = True
        foreground = 1 - coarse[:1]
        kept, coarse = kept[able], coarse[able]
        fine = resize(coarse, size)
        refiner = refiner_of(self.refiner, name)
        if refiner is not None:
            shown = picture_for(picture, image, size, self.mean, self.std)
            fine = refined(refiner, shown, fine / fine.sum(0, keepdim=True), self.refine_side)
            share = 1 - fine[0]
        else:
            share = resize(foreground, size)[0]
        confidence, winner = fine.max(0)
        mask = kept[winner]
        shares = torch.bincount(mask.flatten(), minlength=labels).double() / mask.numel()
        if self.band is not None:
            low, high = self.band
            best = kept[fine[1:].max(0).indices + 1] if len(kept) > 1 else torch.zeros_like(mask)
            mask = torch.where(share > high, best, torch.where(share < low, 0, void))
        mask = mask.masked_fill(confidence < self.ignore_below, void)
        return Segmentation(mask.cpu(), confidence.clamp(0, 1).float().cpu(), shares.cpu())

    def config(self) -> dict[str, Any]:
        """Everything that decides the mask beside the network and the image, as JSON holds it."""
        return {
            "scales": list(self.scales),
            "flip": self.flip,
            "refine": described(self.refine),
            "refine_side": self.refine_side,
            "ignore_below": self.ignore_below,
            "band": None if self.band is None else list(self.band),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def _probabilities(self, network: nn.Module, image: Tensor) -> Tensor:
        """Mean softmax (1 + K, h, w) of all views, at the size of the largest one's logits."""
        found = []
        for batch in views(image, self.scales, self.flip):
            logits = network(batch)
            if not isinstance(logits, Tensor) or logits.ndim != 4 or len(logits) != len(batch):
                said = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ValueError(f"a segmentation network gives logits (N, 1 + K, H, W), this one gave {said}")
            found.append(unflip(logits.float().softmax(1)).mean(0))
        largest = max((tuple(one.shape[-2:]) for one in found), key=lambda side: side[0] * side[1])
        return torch.stack([resize(one, (largest[0], largest[1])) for one in found]).mean(0)


def _kept(probabilities: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Labels (int64, ascending) that the mask may hold: background and the classes."""
    labels = len(probabilities)
    if classes is None:
        return torch.arange(labels, device=probabilities.device)
    wrong = [index for index in classes if not 0 <= index < labels - 1]
    if wrong:
        raise ValueError(f"class {wrong[0]}: the network has the classes 0 to {labels - 2}")
    return torch.tensor([0, *sorted({index + 1 for index in classes})], device=probabilities.device)
