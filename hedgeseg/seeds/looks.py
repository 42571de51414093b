"""The looks at an image that its seed is made of, and how far they agree.

An image is looked at in several sizes and mirrored; each look is a map per class, of each source of maps. They are kept
apart until they are merged, because where they disagree a seed is seldom right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from hedgeseg.seeds.agreement import mask_agreement
from hedgeseg.seeds.file_maps import FileMaps
from hedgeseg.seeds.maps import MapFunction, checked_maps
from hedgeseg.seeds.multiscale import unflip, views
from hedgeseg.seeds.overheard import overheard
from hedgeseg.seeds.smoothing import smooth
from hedgeseg.seeds.spread import LARGEST, Affinity, reduced, stride_maps
from hedgeseg.seeds.walk import Walk

Looks = list[list[Tensor]]
"""For every source the positive maps (v, K, h, w) of every scale; the mirrored image is second, turned back."""

Alike = Affinity | Walk
"""What the network sees alike in an image."""

ESTIMATE_SIDE = 192
"""Longest side in pixels of the masks that are compared to estimate a seed's quality."""


def look(
    model: nn.Module,
    images: Sequence[Tensor],
    classes: Sequence[Sequence[int]],
    details: Sequence[Tensor | None],
    names: Sequence[str | None],
    *,
    sources: Sequence[MapFunction],
    scales: Sequence[float],
    flip: bool,
    smoothing: float,
    likeness: Callable[[list[Tensor]], Alike] | None,
) -> list[tuple[Looks, Alike | None]]:
    """For every image, its looks and what the network sees alike in it, both of one pass through the network.

    Likeness is that of the largest scale. Maps from files are taken once, as they are.

    Args:
        model: classifier with logits (N, classes).
        images: float (C, H, W), all of one shape.
        classes: of each, equally many.
        details: what other scales are taken from, see `picture.detail_of`; None takes them from the image.
        names: ids of the images, by which files are found.
        sources: of maps.
        scales: factors of the image side.
        flip: also look at the mirrored image.
        smoothing: see `smoothing.smooth`.
        likeness: from the maps of an image at the strides to what is alike in it; None where nobody asks.
    """
    looks: list[Looks] = [[[] for _ in sources] for _ in images]
    stages: list[Tensor] = []
    each = [views(i, scales, flip, d) for i, d in zip(images, details, strict=True)]
    for scale, parts in zip(scales, zip(*each, strict=True), strict=True):
        batch, seen = torch.cat(parts), len(parts[0])
        targets = [list(row) for row in classes for _ in range(seen)]
        largest = likeness is not None and scale == max(scales)
        for number, source in enumerate(sources):
            if isinstance(source, FileMaps):
                for of_image, name, row, image in zip(looks, names, classes, images, strict=True):
                    maps = source.read(name, row).to(image.device).clamp(min=0)
                    of_image[number].append(maps.expand(seen, -1, -1, -1))
                continue
            ear: AbstractContextManager[list[Tensor]] = nullcontext([])
            if largest and max(batch.shape[-2:]) <= LARGEST and not stages:
                ear = overheard(model, batch)
            with ear as found:
                positive = checked_maps(source, model, batch, targets).clamp(min=0)
            stages = stages or [stage[::seen] for stage in found]
            for of_image, maps in zip(looks, smooth(positive, smoothing).split(seen), strict=True):
                of_image[number].append(unflip(maps))
        if largest and not stages:
            stages = stride_maps(model, torch.stack([reduced(part[0]) for part in parts]))
    if likeness is None:
        return [(of_image, None) for of_image in looks]
    return [(of_image, likeness([stage[i : i + 1] for stage in stages])) for i, of_image in enumerate(looks)]


def agreements(
    looks: Looks, size: tuple[int, int], mask: Callable[[Looks, tuple[int, int]], Tensor]
) -> dict[str, float]:
    """Do mirrored copies and scales, each on its own, lead to the same mask? On a small copy: it is an estimate.

    Args:
        looks: of one image.
        size: (height, width) of its seed.
        mask: what comes of some of the looks, (h, w) of the size that is asked for.

    Returns:
        `flip` and `scale`, in [0, 1], where there are several of these.
    """
    small = min(1.0, ESTIMATE_SIDE / max(size))
    size = (max(1, round(size[0] * small)), max(1, round(size[1] * small)))
    found, scales = {}, looks[0]
    if len(scales[0]) > 1:
        sides = (mask([[one[i : i + 1] for one in maps] for maps in looks], size) for i in (0, 1))
        found["flip"] = mask_agreement(*sides)
    if len(scales) > 1:
        alone = [mask([maps[i : i + 1] for maps in looks], size) for i in range(len(scales))]
        found["scale"] = sum(mask_agreement(a, b) for a, b in pairwise(alone)) / (len(alone) - 1)
    return found
