"""Scores spread over what the network sees alike: a map's peak says where the class is, likeness how far it goes.

Every place takes the mean score of all places, weighted by how like their features are: `x'_j = sum_i a_ij x_i /
sum_i a_ij`, `a_ij = max(0, cos(f_i, f_j))^power`, with `f` the classifier's own maps at a stride of 8 and 16, each
centred over the image and scaled to unit length. Nothing is trained. The idea of refining class maps by the likeness
of a network's own features is that of SEAM's pixel correlation module (Wang et al. 2020, section 3.3), which learns it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hedgeseg.seeds.fusion import normalise
from hedgeseg.seeds.listening import listening
from hedgeseg.seeds.module_maps import Layout, layouts
from hedgeseg.seeds.multiscale import resize, scaled_size

STRIDES = (8, 16)
LARGEST = 481
"""Longest side in pixels of the image whose features are compared: likeness of all with all grows with side^4."""


@dataclass(frozen=True, eq=False)
class Heard:
    """A map of a stride that a module returned.

    Attributes:
        module: its name.
        call: the how-manieth of its calls, from 0.
        returned: by the module.
        layout: how that is a map.
        behind: whether it lies behind a dilated kernel.
    """

    module: str
    call: int
    returned: Tensor
    layout: Layout
    behind: bool = False

    def replaces(self, other: Heard) -> bool:
        """Whether this map, heard later, is taken in the place of the other of its stride."""
        return self.behind <= other.behind and self.depth <= other.depth

    @property
    def depth(self) -> int:
        """How far the module is from the root."""
        return self.module.count(".") if self.module else -1


@dataclass(frozen=True, eq=False)
class Affinity:
    """How like the places of an image are to the network.

    Attributes:
        weights: float (h w, h w), rows summing to one.
        size: (h, w), the grid of places.
    """

    weights: Tensor
    size: tuple[int, int]

    def spread(self, scores: Tensor) -> Tensor:
        """Scores (K, h, w) averaged over what is alike, each class divided by its maximum."""
        return normalise((scores.flatten(1) @ self.weights.T).view(scores.shape))


@torch.no_grad()
def affinity(model: nn.Module, image: Tensor, power: float = 2.0) -> Affinity:
    """Compare all places of an image with all.

    Args:
        model: looked at in evaluation mode, and left as it was.
        image: float (C, H, W), as the model takes it; reduced if a side exceeds `LARGEST`.
        power: larger trusts only what is most alike.

    Raises:
        ValueError: the network has no map at a stride of 8 or 16.
    """
    return likeness(stride_maps(model, reduced(image)[None]), power)


def reduced(image: Tensor) -> Tensor:
    """The image (C, H, W), smaller if a side exceeds `LARGEST`."""
    long = max(image.shape[-2:])
    if long <= LARGEST:
        return image
    size = scaled_size((int(image.shape[-2]), int(image.shape[-1])), LARGEST / long)
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def likeness(maps: Sequence[Tensor], power: float = 2.0) -> Affinity:
    """How like the places are in maps (1, D_i, h_i, w_i) of one image, on the finest grid of them."""
    height, width = max((found.shape[-2:] for found in maps), key=lambda size: size[0] * size[1])
    parts = []
    for found in maps:
        features = resize(found[0].float(), (height, width)).flatten(1)
        parts.append(F.normalize(features - features.mean(1, keepdim=True), dim=0))
    joined = torch.cat(parts) / len(parts) ** 0.5
    alike = (joined.T @ joined).clamp(min=0) ** power
    return Affinity(alike / alike.sum(1, keepdim=True).clamp(min=1e-12), (height, width))


def stride_maps(model: nn.Module, images: Tensor, strides: Sequence[int] = STRIDES) -> list[Tensor]:
    """The last map of a stage at each of the strides that there are, 8 and 16, of a batch (N, C, H, W).

    A stage's output is the last of its size among the modules nearest to the root: not the inside of a block.

    Raises:
        ValueError: the network has none of them.
    """
    found: dict[int, Heard] = {}
    with watched(model, images, strides, found):
        model(images)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no map at a stride of {' or '.join(map(str, strides))} to compare places by; "
            "give spread=False"
        )
    return maps_of(found)


def maps_of(found: Mapping[int, Heard]) -> list[Tensor]:
    """The maps (N, D, h, w) that were heard, the finest first."""
    return [found[stride].layout.of(found[stride].returned).detach() for stride in sorted(found)]


@contextmanager
def watched(
    model: nn.Module, images: Tensor, strides: Sequence[int], found: dict[int, Heard], deepest: bool = False
) -> Iterator[None]:
    """Evaluation mode and hooks, undone at the end: every module that gives a map of a wanted stride reports it.

    Behind a dilated kernel lie the stages of larger strides, whatever the size of their maps (`output_stride`). They
    count where nothing before it has the stride, or if the `deepest` maps are wanted.
    """
    dilated = set() if deepest else {name for name, module in model.named_modules() if _is_dilated(module)}
    behind = False

    def begin(module: nn.Module, inputs: object) -> None:
        nonlocal behind
        behind = False

    def report(module: str, call: int, returned: Tensor) -> None:
        nonlocal behind
        behind = behind or module in dilated
        for stride in strides:
            for layout in layouts(returned.shape, images.shape):
                if fits(layout.size, images, stride):
                    heard = Heard(module, call, returned, layout, behind)
                    if stride not in found or heard.replaces(found[stride]):
                        found[stride] = heard
                    break

    hook = model.register_forward_pre_hook(begin)
    try:
        with listening(model, report):
            yield
    finally:
        hook.remove()


def _is_dilated(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and any(step > 1 for step in module.dilation)


def fits(size: tuple[int, int], images: Tensor, stride: int) -> bool:
    """Whether a map (h, w) has a stride, but for a side that does not divide, and what padding takes."""
    return all(0.75 < side / (stride * small) < 1.35 for side, small in zip(images.shape[-2:], size, strict=True))
