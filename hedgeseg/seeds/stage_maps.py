"""Which outputs of a network are its stages: found once, then read from images of any shape.

What stride a map has can only be told where the image is large enough: of 65 x 33 pixels a map of 3 x 2 may be of a
stride of 16 or 32. What is compared between images has to come from the same modules in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hedgeseg.seeds.listening import listening
from hedgeseg.seeds.module_maps import layouts
from hedgeseg.seeds.spread import Heard, watched

PLAIN = 128
"""From this length of the shorter side on, strides up to 32 are told apart."""

PROBE = 256
"""Side of the square that is looked at in the place of a smaller image."""


@dataclass(frozen=True)
class Stage:
    """An output of a network that is a map at a stride.

    Attributes:
        stride: of the map.
        module: name of the module.
        call: the how-manieth of the module's calls in a forward pass, from 0.
        channels: of the map.
    """

    stride: int
    module: str
    call: int
    channels: int


@torch.no_grad()
def find_stages(model: nn.Module, image: Tensor, strides: Sequence[int]) -> list[Stage]:
    """The last map of a stage at each of the strides that the network has, as `spread.stride_maps` takes them.

    Args:
        model: looked at in evaluation mode, and left as it was.
        image: float (C, H, W), as the model takes it. Where it is small, a square is looked at in its place, if the
            network takes one.
        strides: that are wanted.

    Raises:
        ValueError: the network has none of them.
    """
    if min(image.shape[-2:]) < PLAIN:
        try:
            return _found(model, image.new_zeros(1, image.shape[0], PROBE, PROBE), strides)
        except (RuntimeError, AssertionError, ValueError):  # a network for images of one size, too
            pass
    return _found(model, image[None], strides)


@torch.no_grad()
def stage_maps(model: nn.Module, image: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
    """The maps (1, channels, h, w) of an image (C, H, W) at stages; one forward pass.

    Raises:
        ValueError: a stage has no such map of this image.
    """
    found: dict[Stage, Tensor] = {}
    wanted = {(stage.module, stage.call): stage for stage in stages}
    images = image[None]

    def report(name: str, call: int, output: Tensor) -> None:
        stage = wanted.get((name, call))
        if stage is not None:
            fitting = (layout for layout in layouts(output.shape, images.shape) if layout.channels == stage.channels)
            layout = next(fitting, None)
            if layout is not None:
                found[stage] = layout.of(output)

    with listening(model, report):
        model(images)
    for stage in stages:
        if stage not in found:
            raise ValueError(
                f"{stage.module!r} of {type(model).__name__} gives no map of {stage.channels} channels for an image of "
                f"{image.shape[-2]} x {image.shape[-1]} pixels; give a larger image"
            )
    return [found[stage] for stage in stages]


def _found(model: nn.Module, images: Tensor, strides: Sequence[int]) -> list[Stage]:
    found: dict[int, Heard] = {}
    with watched(model, images, strides, found, deepest=True):
        model(images)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no map at a stride of {' or '.join(map(str, strides))} for images of "
            f"{images.shape[-2]} x {images.shape[-1]} pixels to judge places by; give refit=False"
        )
    best = sorted(found.items(), key=lambda item: item[0])
    return [Stage(stride, heard.module, heard.call, heard.layout.channels) for stride, heard in best]
