"""Three sets of pictures with masks and the networks that look at them: what `seeds_on_three_sets.py` is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.folder import FolderDataModule
from hedgeseg.data.voc import VocDataModule
from hedgeseg.models import Classifier, build_network, read_groups
from hedgeseg.models.input_statistics import Statistics, input_statistics

ANIMALS = ("cat", "cow", "dog", "horse", "sheep")
SIDES = {"mobilenet_v2": 289, "squeezenet1_0": 291, "efficientnet_lite0": 288}
"""Networks, and the side in pixels at which they look."""
SETS = ("animals", "photographs", "defects")
SCORED = 256
"""Longest side in pixels at which masks are scored."""


@dataclass(frozen=True)
class Case:
    """An image: the network's input, its classes, the truth at the size of the evaluation, mean and deviation."""

    name: str
    image: Tensor
    classes: list[int]
    truth: Tensor
    statistics: Statistics


@dataclass(frozen=True)
class Folders:
    """Where things are: three data sets, ImageNet's weights, fine-tuned checkpoints (any may be missing), results."""

    animals: Path | None
    photographs: Path | None
    defects: Path | None
    weights: Path
    tuned: Path
    out: Path


class Looking:
    """A network that looks at a data set.

    Args:
        data: one of `SETS`.
        network: a key of `SIDES`.
        tuned: whether it learnt the labels of that set; with ImageNet's weights its logits are grouped.
        folders: where things are.
        limit: so many images at most, every n-th.
    """

    def __init__(self, data: str, network: str, tuned: bool, folders: Folders, limit: int | None) -> None:
        self.data, self.network, self.tuned, self.folders, self.limit = data, network, tuned, folders, limit
        self.name = f"{data}, {network}" + (", fine-tuned" if tuned else "")
        self.out = folders.out / f"{data}_{network}{'_tuned' if tuned else ''}"
        self.arch = network if network in ("mobilenet_v2", "squeezenet1_0") else f"timm/tf_{network}"
        self.side = SIDES[network]

    @property
    def weights(self) -> Path:
        """File of the weights."""
        if self.tuned:
            return self.folders.tuned / f"{self.data}_{self.network}.ckpt"
        return self.folders.weights / (f"{self.arch.removeprefix('timm/')}.pth")

    @property
    def possible(self) -> bool:
        """Whether there is data and a network that knows its classes."""
        there = getattr(self.folders, self.data) is not None and self.weights.is_file()
        return there and (self.tuned or self.data != "defects")

    @cached_property
    def source(self) -> LabelledImages:
        """The pictures, with their masks."""
        root = getattr(self.folders, self.data)
        if self.data == "photographs":
            return CocoFolder(root, verify=False)
        if self.data == "animals":
            module = VocDataModule(str(root), year=2012, predict_split="train", subset="segmentation", labels="mask")
        else:
            module = FolderDataModule(str(root), background="free", predict="all")
        module.setup("predict")
        assert module.predict_dataset is not None
        return module.predict_dataset

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """Classes of the data set that the network knows."""
        names = self.source.classes
        known = set(range(len(names)))
        if not self.tuned:
            groups = read_groups(self.folders.weights / "voc_from_imagenet.json", names)
            known = {c for c, group in enumerate(groups) if group}
        if self.data == "animals":
            known &= {names.index(name) for name in ANIMALS}
        return tuple(sorted(known))

    @cached_property
    def model(self) -> nn.Module:
        """The network; the i-th of its logits is that of class `logit(c) == i`."""
        if self.tuned:
            return build_network(self.arch, len(self.labels), str(self.weights)).eval()
        groups = str(self.folders.weights / "voc_from_imagenet.json")
        return Classifier(len(self.source.classes), self.arch, weights=str(self.weights), groups=groups).eval()

    def logit(self, c: int) -> int:
        """Which logit a class has."""
        return self.labels.index(c) if self.tuned else c

    @cached_property
    def chosen(self) -> list[int]:
        """Indices of the images that show a class which the network knows."""
        found = [i for i in range(len(self.source)) if self._shown(i) and self.source.mask(i) is not None]
        if self.limit is not None and self.limit < len(found):
            found = [found[round(i * len(found) / self.limit)] for i in range(self.limit)]
        return found

    @cached_property
    def nothing(self) -> list[int]:
        """Indices of images of no class, a third as many as those chosen; on the set that has such alone."""
        if self.data != "defects":
            return []
        found = [i for i in range(len(self.source)) if not self.source.labels(i)]
        count = min(len(found), len(self.chosen) // 3)
        return [found[i * len(found) // count] for i in range(count)]

    def case(self, index: int) -> Case:
        """An image of the data set; what is of a class that the network does not know is void."""
        mask = self.source.mask(index)
        if mask is None:
            mask = np.zeros(self.source.image(index).shape[:2], np.uint8)
        if self.data == "animals":
            mask = np.where((mask == 0) | np.isin(mask, [c + 1 for c in self.labels]), mask, 255).astype(np.uint8)
        picture, truth = _square(self.source.image(index), self.side, self.arch), torch.from_numpy(shrunk(mask, SCORED))
        return Case(str(index), picture, self._shown(index), truth, input_statistics(self.arch))

    def _shown(self, index: int) -> list[int]:
        return [c for c in self.source.labels(index) if c in self.labels]


def lookings(folders: Folders, limit: int | None, wanted: Callable[[str], bool]) -> list[Looking]:
    """Every network on every set that it can look at."""
    every = [
        Looking(data, network, tuned, folders, limit) for data in SETS for network in SIDES for tuned in (False, True)
    ]
    return [looking for looking in every if looking.possible and wanted(looking.name)]


def _square(picture: np.ndarray, side: int, arch: str) -> Tensor:
    """The picture as a square, shrunk by area and normalised: float (3, side, side)."""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    mean, std = (np.array(values) for values in input_statistics(arch))
    return torch.from_numpy(((small / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1).contiguous()


def shrunk(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask by its nearest pixels, the longest side as long as told."""
    height, width = mask.shape
    small = side / max(height, width)
    rows = ((np.arange(round(height * small)) + 0.5) / small).astype(int).clip(0, height - 1)
    columns = ((np.arange(round(width * small)) + 0.5) / small).astype(int).clip(0, width - 1)
    return mask[np.ix_(rows, columns)].copy()
