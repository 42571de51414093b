"""Five networks on two sets of photographs: what `paper_on_photographs.py` explains, and in which order."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from tqdm import tqdm

from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.transforms import eval_transform
from hedgeseg.data.voc import VocDataModule
from hedgeseg.data.voc_classes import VOC_CLASSES
from hedgeseg.evaluation import Annotations, Case, Protocol, make_case, select
from hedgeseg.evaluation.annotations import box_masks
from hedgeseg.models import build_network, read_groups
from hedgeseg.models.grouped_logits import GroupedLogits
from hedgeseg.models.input_statistics import input_statistics
from hedgeseg.seeds.formats.files import replacing

PROTOCOL = Protocol(smallest=0.01, predicted_top=3)
"""Every labelled class that a network knows and that covers more than 1 % of the picture; the three likeliest as a
subset."""

ANIMALS = ("cat", "cow", "dog", "horse", "sheep")
"""What the fine-tuned networks tell apart, in the order of their logits."""


@dataclass(frozen=True)
class Network:
    """Architecture, input side, file of weights, and whether it was fine-tuned."""

    arch: str
    side: int
    weights: str
    tuned: bool = False

    def load(self, weights: Path, tuned: Path) -> GroupedLogits:
        """The classifier of VOC's classes, in evaluation mode; classes that it does not know have the lowest logits."""
        if self.tuned:
            groups = [[ANIMALS.index(name)] if name in ANIMALS else [] for name in VOC_CLASSES]
            network = build_network(self.arch, len(ANIMALS), str(tuned / self.weights))
        else:
            groups = read_groups(weights / "voc_from_imagenet.json", VOC_CLASSES)
            network = build_network(self.arch, 1000, str(weights / self.weights))
        return GroupedLogits(network, groups).eval()


NETWORKS = {
    "mobilenet_v2": Network("mobilenet_v2", 225, "mobilenet_v2.pth"),
    "squeezenet1_0": Network("squeezenet1_0", 227, "squeezenet1_0.pth"),
    "efficientnet_lite0": Network("timm/tf_efficientnet_lite0", 224, "tf_efficientnet_lite0.pth"),
    "mobilenet_v2 tuned": Network("mobilenet_v2", 225, "mobilenet_v2.ckpt", tuned=True),
    "efficientnet_lite0 tuned": Network("timm/tf_efficientnet_lite0", 224, "efficientnet_lite0.ckpt", tuned=True),
}
SETS = ("voc", "coco", "voc_train")
"""VOC's pictures that nothing was learnt from, COCO's, and those of VOC that networks of ImageNet have not seen."""


@dataclass(frozen=True)
class Folders:
    """Where things are: VOC's root, COCO's root, ImageNet's weights, fine-tuned checkpoints, results."""

    voc: Path
    coco: Path
    weights: Path
    tuned: Path
    out: Path


class Pair:
    """A network on a set of photographs.

    Args:
        network: a key of `NETWORKS`.
        data: one of `SETS`.
        folders: where things are.
    """

    def __init__(self, network: str, data: str, folders: Folders) -> None:
        self.network, self.data, self.folders = network, data, folders
        self.name = f"{network}, {data}"
        self.out = folders.out / network.replace(" ", "_") / data
        self._of = NETWORKS[network]

    @cached_property
    def classifier(self) -> GroupedLogits:
        """The network."""
        return self._of.load(self.folders.weights, self.folders.tuned)

    @cached_property
    def photographs(self) -> ImageSubset:
        """The photographs as the network takes them, squashed to a square."""
        if self.data == "coco":
            source: LabelledImages = CocoFolder(self.folders.coco, verify=False)
        else:
            source = _voc(self.folders.voc, "val" if self.data == "voc" else "train")
        transform = eval_transform(self._of.side, *input_statistics(self._of.arch), fit="squash")
        return ImageSubset(source, range(len(source)), transform)

    @cached_property
    def known(self) -> frozenset[int]:
        """Classes that the network has learnt."""
        return frozenset(index for index, group in enumerate(self.classifier.groups) if group)

    def case(self, index: int, turn: int = 0) -> Case | None:
        """A photograph with its known classes; None if it shows none.

        As on the benchmarks, the pointing game is played at the original size: on VOC with the boxes around what the
        mask shows, on COCO with the masks. Classes that the network does not know are void in what seeds are scored
        with.
        """
        sample, own = self.photographs[index], np.asarray(self.photographs.mask(index))
        labels = [label for label in sample["label"].nonzero().flatten().tolist() if label in self.known]
        if not labels:
            return None
        mask, large = sample["mask"], torch.from_numpy(own.copy()).long()
        seen = Annotations((mask.shape[0], mask.shape[1]), mask)
        original = Annotations((large.shape[0], large.shape[1]), large)
        case = make_case(sample["id"], sample["image"], labels, seen, PROTOCOL, original, turn=turn)
        if self.data != "coco":
            boxes, names = boxes_of(own)
            case = replace(case, original=box_masks(boxes, names, labels, original.size), original_valid=None)
        unknown = torch.tensor([i + 1 for i in range(len(VOC_CLASSES)) if i not in self.known])
        assert case.truth is not None
        return replace(case, truth=case.truth.masked_fill(torch.isin(case.truth, unknown), 255))

    def order(self) -> list[tuple[int, str, int]]:
        """Index, id and number of explained classes of the photographs, drawn at random once; kept in `order.json`."""
        path = self.out / "order.json"
        if not path.is_file():
            drawn = torch.randperm(len(self.photographs), generator=torch.Generator().manual_seed(0)).tolist()
            found = []
            for index in tqdm(drawn, desc=f"{self.name}: classes", mininterval=5):
                case = self.case(index)
                chosen = None if case is None else select(case, torch.zeros(len(VOC_CLASSES)), PROTOCOL)
                if chosen is not None:
                    found.append((index, chosen.id, len(chosen.classes)))
            self.out.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return [(index, name, count) for index, name, count in json.loads(path.read_text())]


def boxes_of(mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes float (n, 4), xyxy, around the connected parts of every class of a mask, and their class indices (n,)."""
    boxes, labels = [], []
    for value in np.unique(mask[(mask > 0) & (mask < 255)]).tolist():
        for rows, columns in ndimage.find_objects(ndimage.label(mask == value, np.ones((3, 3)))[0]):
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            labels.append(value - 1)
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64)


def _voc(root: Path, split: str) -> LabelledImages:
    module = VocDataModule(str(root), year=2012, predict_split=split, subset="segmentation", labels="mask")
    module.setup("predict")
    return module.predict_dataset
