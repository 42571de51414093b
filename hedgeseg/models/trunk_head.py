"""A segmentation head on the trunk of a classifier: what a frozen ImageNet network already sees, made dense."""

from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

WIDTH = 96
LEVELS = 3


class TrunkHead(nn.Module):
    """The last map of each stride of a classifier, projected, brought to one size and added, then classified.

    Source of the idea: feature pyramids (Lin et al. 2017). The finest `LEVELS` levels count from the deepest one up.
    Only the head is trained unless `frozen` is False; a frozen trunk stays in evaluation mode and builds no graph.

    Args:
        classifier: a network with stages under `features` (VGG, SqueezeNet, DenseNet, MobileNet, EfficientNet) or
            `layer1` to `layer4` (ResNet and its kin); its pooling and head are dropped.
        num_outputs: number of labels, background included.
        frozen: keep the trunk's weights and batch norm statistics.

    Raises:
        ValueError: a classifier without such stages.
    """

    def __init__(self, classifier: nn.Module, num_outputs: int, frozen: bool = True) -> None:
        super().__init__()
        stages = trunk_stages(classifier)
        cuts, channels = _levels(stages)
        starts = [0, *cuts[:-1]]
        self.levels = nn.ModuleList(nn.Sequential(*stages[a:b]) for a, b in zip(starts, cuts, strict=True))
        self.frozen = frozen
        self.levels.requires_grad_(not frozen)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH)) for count in channels[-LEVELS:]
        )
        self.mix = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
            nn.Conv2d(WIDTH, num_outputs, 1),
        )
        # Lightning trains in the modes it finds: without this a frozen trunk would go on learning batch statistics.
        self.train()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, labels, H, W) of images (N, 3, H, W)."""
        maps = self._maps(images)[-LEVELS:]
        size = maps[0].shape[-2:]
        joined = torch.zeros((), device=images.device)
        for project, level in zip(self.project, maps, strict=True):
            joined = joined + F.interpolate(project(level), size=size, mode="bilinear", align_corners=False)
        return F.interpolate(self.mix(joined), size=images.shape[-2:], mode="bilinear", align_corners=False)

    def train(self, mode: bool = True) -> Self:
        """Switches to training or evaluation; a frozen trunk stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.levels.eval()
        return self

    def _maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            for level in self.levels:
                images = level(images)
                maps.append(images)
        return maps


def trunk_stages(classifier: nn.Module) -> list[nn.Module]:
    """The modules of a classifier, in order, that turn an image into its last feature map.

    Raises:
        ValueError: neither `features` nor `layer1` to `layer4` is there.
    """
    features = getattr(classifier, "features", None)
    if isinstance(features, nn.Sequential):
        return list(features)
    names = [name for name, _ in classifier.named_children()]
    if "layer4" in names:
        return [classifier.get_submodule(name) for name in names[: names.index("layer4") + 1]]
    raise ValueError(
        f"{type(classifier).__name__} has neither a sequence `features` nor `layer1` to `layer4`: its trunk is not "
        "known; use a VGG, SqueezeNet, DenseNet, MobileNet, EfficientNet or ResNet"
    )


def _levels(stages: list[nn.Module]) -> tuple[list[int], list[int]]:
    """Where to cut the stages: after the last one of each size; and the channels there. Told by a small trial run."""
    cuts: list[int] = []
    channels: list[int] = []
    side = 0
    was_training = [stage.training for stage in stages]
    x = torch.zeros(1, 3, 97, 97)
    with torch.no_grad():
        for position, stage in enumerate(stages):
            x = stage.eval()(x)
            if x.shape[-1] == side:
                cuts[-1], channels[-1] = position + 1, x.shape[1]
            else:
                cuts.append(position + 1)
                channels.append(x.shape[1])
            side = x.shape[-1]
    for stage, mode in zip(stages, was_training, strict=True):
        stage.train(mode)
    return cuts, channels
