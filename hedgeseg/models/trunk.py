"""The trunk of a classifier as a feature pyramid: the last map of each stride, from the finest to the coarsest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

_TRIAL = 129  # pixels of a side; odd, so that strides of two end at the last pixel
_ENDS = (nn.Linear, nn.Dropout, nn.Flatten, nn.AdaptiveAvgPool2d)
_HEADS = ("classifier", "fc", "head", "avgpool", "global_pool")


class Trunk(nn.Module, ABC):
    """A trunk that knows what its maps look like.

    Attributes:
        channels: of each map.
        strides: of each map, ascending powers of two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[int] = []
        self.strides: list[int] = []

    @abstractmethod
    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last map of each stride, finest first."""

    def _measure(self, side: int) -> None:
        """A trial run tells channels and strides."""
        was_training = self.training
        self.eval()
        with torch.no_grad():
            maps = self(torch.zeros(1, 3, side, side))
        self.train(was_training)
        self.channels = [int(one.shape[1]) for one in maps]
        self.strides = [2 ** max(0, round(math.log2(side / one.shape[-1]))) for one in maps]


class StagedTrunk(Trunk):
    """A trunk whose stages follow each other, as those of torchvision's networks do.

    Args:
        classifier: its modules, in the order of definition, up to its pooling are the trunk.

    Raises:
        ValueError: no such modules, or modules that cannot be run one after the other.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        stages = trunk_stages(classifier)
        cuts = _cuts(stages, type(classifier).__name__)
        starts = [0, *cuts[:-1]]
        self.levels = nn.ModuleList(nn.Sequential(*stages[a:b]) for a, b in zip(starts, cuts, strict=True))
        self._measure(_TRIAL)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last map of each stride, finest first."""
        maps = []
        for level in self.levels:
            images = level(images)
            maps.append(images)
        return maps


class TimmTrunk(Trunk):
    """A trunk of timm, convolutional or not: timm itself tells the maps between its stages.

    Args:
        classifier: a network of timm with `forward_intermediates`.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.network = classifier
        # What comes after the last map would be neither trained nor used.
        classifier.prune_intermediate_layers(None, prune_norm=True, prune_head=True)
        side = _TRIAL
        try:
            self._measure(side)
        except (AssertionError, RuntimeError):  # networks of one input size
            side = int(classifier.pretrained_cfg.get("input_size", (3, 224, 224))[-1])
            self._measure(side)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The last map of each stride, finest first."""
        maps = self.network.forward_intermediates(images, intermediates_only=True)
        return [one for one, after in zip(maps, [*maps[1:], None], strict=True) if _shrinks(one, after)]


def as_trunk(classifier: nn.Module) -> Trunk:
    """The trunk of a classifier of torchvision, of timm, or of the same build.

    Raises:
        ValueError: a classifier whose trunk is not known.
    """
    if hasattr(classifier, "forward_intermediates"):
        return TimmTrunk(classifier)
    return StagedTrunk(classifier)


def trunk_stages(classifier: nn.Module) -> list[nn.Module]:
    """The modules of a classifier, in order, that turn an image into its last feature map.

    Raises:
        ValueError: there are none before the head.
    """
    stages: list[nn.Module] = []
    for name, child in classifier.named_children():
        if name in _HEADS or isinstance(child, _ENDS):
            break
        stages += (
            list(child)
            if isinstance(child, nn.Sequential) and name in ("features", "layers", "trunk_output")
            else [child]
        )
    if not stages or isinstance(classifier, nn.Linear):
        raise ValueError(
            f"{type(classifier).__name__} has no stages before its head: its trunk is not known; use a convolutional "
            "network of torchvision, or timm/<name>"
        )
    return stages


def _cuts(stages: list[nn.Module], owner: str) -> list[int]:
    """Where to cut the stages: after the last one of each size. Told by a small trial run."""
    cuts: list[int] = []
    side = 0
    was_training = [stage.training for stage in stages]
    x = torch.zeros(1, 3, _TRIAL, _TRIAL)
    try:
        with torch.no_grad():
            for position, stage in enumerate(stages):
                x = stage.eval()(x)
                if x.shape[-1] == side:
                    cuts[-1] = position + 1
                else:
                    cuts.append(position + 1)
                if x.ndim != 4 or x.shape[-1] != x.shape[-2]:
                    raise ValueError(f"a stage gives {tuple(x.shape)}, not (N, C, H, W)")
                side = x.shape[-1]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise ValueError(
            f"the stages of {owner} cannot be run one after the other, so its trunk is not known ({error}); take "
            "another network, or timm/<name>"
        ) from error
    finally:
        for stage, mode in zip(stages, was_training, strict=True):
            stage.train(mode)
    return cuts


def _shrinks(one: torch.Tensor, after: torch.Tensor | None) -> bool:
    return after is None or after.shape[-1] != one.shape[-1]
