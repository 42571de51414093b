"""A light decoder on the trunk of a classifier: what an ImageNet network already sees, made dense."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from hedgeseg.models.trunk import as_trunk

WIDTH = 96
FINE = 48
COARSE_STRIDE = 8
FINE_STRIDE = 4


class TrunkHead(nn.Module):
    """The maps of strides 8 and more, joined and mixed at stride 8; then sharpened by the map of stride 4.

    Source of the ideas: feature pyramids (Lin et al. 2017) and the decoder of DeepLabV3+ (Chen et al. 2018). Only the
    head is trained unless `frozen` is False; a frozen trunk stays in evaluation mode and builds no graph. Of a trunk
    without these strides (a transformer has one) what there is is joined at its finest.

    Args:
        classifier: a network of torchvision or timm; its pooling and head are dropped.
        num_outputs: number of labels, background included.
        frozen: keep the trunk's weights and batch norm statistics.

    Raises:
        ValueError: a classifier whose trunk is not known.
    """

    def __init__(self, classifier: nn.Module, num_outputs: int, frozen: bool = True) -> None:
        super().__init__()
        self.trunk = as_trunk(classifier)
        self.frozen = frozen
        self.trunk.requires_grad_(not frozen)
        coarse = [i for i, stride in enumerate(self.trunk.strides) if stride >= COARSE_STRIDE]
        self.coarse = coarse or [len(self.trunk.strides) - 1]
        fine = [i for i, stride in enumerate(self.trunk.strides) if stride == FINE_STRIDE and i < self.coarse[0]]
        self.fine = fine[-1] if fine else None
        self.read = self.coarse if self.fine is None else [self.fine, *self.coarse]
        self.project = nn.ModuleList(_convolution(self.trunk.channels[i], WIDTH, 1) for i in self.coarse)
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True), *_learnt(WIDTH, WIDTH), *_learnt(WIDTH, WIDTH), nn.Dropout2d(0.1)
        )
        last = WIDTH
        if self.fine is not None:
            self.narrow = _convolution(WIDTH, FINE, 1)
            self.detail = _convolution(self.trunk.channels[self.fine], FINE, 1)
            self.sharpen = nn.Sequential(nn.ReLU(inplace=True), *_learnt(FINE, FINE))
            last = FINE
        self.classify = nn.Conv2d(last, num_outputs, 1)
        self.to(memory_format=torch.channels_last)
        # Lightning trains in the modes it finds: without this a frozen trunk would go on learning batch statistics.
        self.train()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, labels, H, W) of images (N, 3, H, W)."""
        return self.decode(self.features(images), (int(images.shape[-2]), int(images.shape[-1])))

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The maps of the trunk that the decoder reads, finest first."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.trunk(images)
        return [maps[i] for i in self.read]

    def decode(self, features: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """Logits (N, labels, *size) of what `features` gave."""
        maps = dict(zip(self.read, features, strict=True))
        side = maps[self.coarse[0]].shape[-2:]
        joined = torch.stack(
            [_resized(project(maps[i]), side) for project, i in zip(self.project, self.coarse, strict=True)]
        ).sum(0)
        mixed = self.mix(joined)
        if self.fine is not None:
            level = maps[self.fine]
            mixed = self.sharpen(_resized(self.narrow(mixed), level.shape[-2:]) + self.detail(level))
        return _resized(self.classify(mixed), size)

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; a frozen trunk stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self


def _convolution(inputs: int, outputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False), nn.BatchNorm2d(outputs))


def _learnt(inputs: int, outputs: int) -> list[nn.Module]:
    return [*_convolution(inputs, outputs, 3), nn.ReLU(inplace=True)]


def _resized(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
