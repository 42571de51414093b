"""Which seeds, at which level: photographs of a few objects, of many, and small defects; one command, one table.

    uv run benchmarks/seeds_on_three_sets.py voc --root ANIMALS --arch timm/tf_efficientnet_lite0 \
        --mean 0.498 --std 0.502 --weights FILE --groups FILE --limit 60
    uv run benchmarks/seeds_on_three_sets.py coco --root DIR --arch mobilenet_v2 --size 289 --weights FILE --groups FILE
    uv run benchmarks/seeds_on_three_sets.py folder --root DEFECTS --arch mobilenet_v2 --size 321 --weights MINE.ckpt

The first explains animals (persons and other things count as void), the second whatever the groups know, the third the
classes of the folders that have masks, `images/<class>` and `masks/<class>`, with a network of one's own.

`--maps NAME ...` runs some of the chains alone.

"refit" judges the scores again by what those of all images have in common (`hedgeseg.seeds.refit`). Images of one class
and of several are reported apart as well, at `auto`.

Every seed is reported twice: at one level chosen on the other half of the images with the masks in hand, and at
`background: auto`, which sees no mask. The oracle is the single best level of all. Intervals are 95 % bootstrap
intervals over images. Masks are scored at `--side` pixels; of the folder, without the background's IoU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.folder import FolderDataModule
from hedgeseg.data.voc import VocDataModule
from hedgeseg.evaluation.seed_quality import mean_iou, miou_interval
from hedgeseg.models import Classifier, read_groups
from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.background import Background, Constant
from hedgeseg.seeds.confusion import confusion_counts, iou_parts
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.refit import learn_refit
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD

ANIMALS = ("cat", "cow", "dog", "horse", "sheep")
LEVELS = [round(0.04 * i, 2) for i in range(25)]

CHAINS = {
    "hedge": {"method": "hedge"},
    "hedge, spread": {"method": "hedge", "spread": True},
    "hedge coarse, spread": {"method": "hedge", "stages": "coarse", "spread": True},
    "grad_cam, spread": {"method": "grad_cam", "spread": True},
    "full_grad, spread": {"method": "full_grad", "spread": True},
    "hedge coarse in the extent of full_grad, spread": {
        "method": ["hedge", "full_grad"], "hedge": {"stages": "coarse"}, "fuse": "extent", "spread": True,
    },
    "grad_cam, spread, refit": {"method": "grad_cam", "spread": True, "rounds": 2},
    "full_grad, spread, refit once": {"method": "full_grad", "spread": True, "rounds": 1},
    "full_grad, spread, refit": {"method": "full_grad", "spread": True, "rounds": 2},
    "hedge coarse in the extent of full_grad, spread, refit": {
        "method": ["hedge", "full_grad"], "hedge": {"stages": "coarse"}, "fuse": "extent", "spread": True, "rounds": 2,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """An image: the network's input, its classes, and the truth at the size of the evaluation."""

    image: Tensor
    classes: list[int]
    truth: Tensor


def cases(a: argparse.Namespace) -> tuple[int, Iterator[Case]]:
    """The number of classes and the images of the data set, every n-th where `--limit` asks for fewer."""
    source = _source(a)
    known = read_groups(a.groups, source.classes) if a.groups else [[0]] * len(source.classes)
    wanted = {c for c, group in enumerate(known) if group}
    if a.kind == "voc":
        wanted &= {source.classes.index(name) for name in ANIMALS}
    explained = {i: [c for c in source.labels(i) if c in wanted] for i in range(len(source))}
    chosen = [i for i, classes in explained.items() if classes and source.mask(i) is not None]
    if a.limit is not None and a.limit < len(chosen):
        chosen = [chosen[round(i * len(chosen) / a.limit)] for i in range(a.limit)]

    def read() -> Iterator[Case]:
        for i in tqdm(chosen, desc=a.kind):
            mask = source.mask(i)
            assert mask is not None
            if a.kind == "voc":
                mask = np.where((mask == 0) | np.isin(mask, [c + 1 for c in wanted]), mask, 255).astype(np.uint8)
            yield Case(_seen(source.image(i), a), explained[i], _shrunk(mask, a.side))

    return len(source.classes), read()


def _seen(picture: np.ndarray, a: argparse.Namespace) -> Tensor:
    """The picture as a square, shrunk by area and normalised: float (3, size, size)."""
    small = cv2.resize(picture, (a.size, a.size), interpolation=cv2.INTER_AREA)
    mean = IMAGENET_MEAN if a.mean is None else (a.mean,) * 3
    std = IMAGENET_STD if a.std is None else (a.std,) * 3
    return torch.from_numpy(((small / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1).contiguous()


def _source(a: argparse.Namespace) -> LabelledImages:
    if a.kind == "coco":
        return CocoFolder(a.root, verify=False)
    if a.kind == "voc":
        module = VocDataModule(a.root, year=2012, predict_split="train", subset="segmentation", labels="mask")
    else:
        module = FolderDataModule(a.root)
    module.setup("predict")
    return module.predict_dataset


def _shrunk(mask: np.ndarray, side: int) -> Tensor:
    height, width = mask.shape
    small = side / max(height, width)
    rows = ((np.arange(round(height * small)) + 0.5) / small).astype(int).clip(0, height - 1)
    columns = ((np.arange(round(width * small)) + 0.5) / small).astype(int).clip(0, width - 1)
    return torch.from_numpy(mask[np.ix_(rows, columns)].copy())


def parts(scores: list[Tensor], seen: list[Case], rules: Sequence[Background], labels: int, background: bool) -> Tensor:
    """Hits, predicted and true pixels (N, labels, 3) of masks cut by a rule each."""
    rows = []
    for found, case, rule in zip(scores, seen, rules, strict=True):
        grown = resize(found, tuple(case.truth.shape))
        mask = cut_seed(grown, torch.tensor(case.classes), rule).mask
        counts = torch.stack(iou_parts(confusion_counts(mask, case.truth, labels)), dim=1)
        rows.append(counts if background else counts[1:])
    return torch.stack(rows)


def main() -> None:
    """Make the scores of every chain, place the levels, print the table."""
    a = parse_arguments()
    torch.set_num_threads(a.threads)
    labels, images = cases(a)
    model = Classifier(labels, a.arch, weights=a.weights, groups=a.groups).eval()
    seen = list(images)
    print(f"{a.kind}, {a.arch}, {len(seen)} images at {a.size} px, mirrored as well, scored at {a.side} px\n")
    print("| seed | level of the other half | oracle | auto | one class, several | precision, recall | s per image |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, options in CHAINS.items():
        if a.maps and name not in a.maps:
            continue
        print(row(name, options, model, seen, labels, a.kind != "folder"), flush=True)


def row(name: str, options: dict[str, Any], model: Classifier, seen: list[Case], labels: int, background: bool) -> str:
    """One line of the table."""
    rounds, start = options.get("rounds", 0), time.perf_counter()
    generator = SeedGenerator(flip=True, **{key: value for key, value in options.items() if key != "rounds"})
    scores, pooled = [], PooledMoments()
    for case in tqdm(seen, desc=name, leave=False):
        small = tuple(side // 2 for side in case.image.shape[-2:])  # half of what the network sees: seeds are no finer
        scores.append(generator.scores(model, case.image, case.classes, size=small))
    if rounds:
        first = scores
        refit = learn_refit(model, lambda: ((c.image, s, c.classes) for c, s in zip(seen, first, strict=True)), rounds)
        scores = [
            resize(refit(case.image, case.classes), tuple(s.shape[1:])) for case, s in zip(seen, first, strict=True)
        ]
    for case, found in zip(seen, scores, strict=True):
        pooled.add(found, case.classes)
    seconds = (time.perf_counter() - start) / len(seen)
    curve = {level: parts(scores, seen, [Constant(level)] * len(seen), labels, background) for level in LEVELS}
    halves = [max(LEVELS, key=lambda level, h=half: mean_iou(curve[level][1 - h :: 2])) for half in (0, 1)]
    chosen = curve[halves[0]].clone()
    chosen[1::2] = curve[halves[1]][1::2]
    oracle = max(LEVELS, key=lambda level: mean_iou(curve[level]))
    auto = parts(scores, seen, [Auto().over(pooled, case.classes) for case in seen], labels, background)
    hits, predicted, true = auto.sum(0).unbind(-1)
    precision, recall = ((hits / other)[int(background) :].nanmean() for other in (predicted, true))
    single = torch.tensor([len(case.classes) == 1 for case in seen])
    kinds = ", ".join(f"{mean_iou(auto[kind]):.3f}" if kind.any() else "none" for kind in (single, ~single))
    return (
        f"| {name} | {_interval(chosen)} at {halves[0]:.2f}, {halves[1]:.2f} | {mean_iou(curve[oracle]):.3f} at "
        f"{oracle:.2f} | {_interval(auto)} | {kinds} | {precision:.3f}, {recall:.3f} | {seconds:.2f} |"
    )


def _interval(found: Tensor) -> str:
    low, high = miou_interval(found)
    return f"{mean_iou(found):.3f} ({low:.3f}-{high:.3f})"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("voc", "coco", "folder"))
    parser.add_argument("--root", required=True)
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--groups", default=None, help="ImageNet indices of each class, for ImageNet's weights")
    parser.add_argument("--size", type=int, default=288)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--mean", type=float, default=None, help="of every channel; ImageNet's without it")
    parser.add_argument("--std", type=float, default=None)
    parser.add_argument("--maps", nargs="+", default=[], help="names of the chains to run; all without")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
