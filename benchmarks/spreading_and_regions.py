"""What spreading by a learnt affinity, regions without a class and a finer feature map bring, on two kinds of pictures.

    uv run benchmarks/spreading_and_regions.py voc --root ANIMALS --arch timm/tf_efficientnet_lite0 --method full_grad \
        --mean 0.498 --std 0.502 --weights FILE --groups FILE --limit 120 --out runs/spreading
    uv run benchmarks/spreading_and_regions.py coco --root DIR --arch mobilenet_v2 --size 289 --method hedge_coarse \
        --weights FILE --groups FILE --limit 120 --out runs/spreading

One map per image, looked at with its mirror image and unrefined: as it is; spread over what the network sees alike;
after a walk by an affinity that was learnt from these images' own seeds (spread, cut at `background: auto`, no mask
looked at); and both. On COCO also the ceiling of `refine: {regions: ...}`: the true polygons, stripped of their
class, of which each takes the class that the scores vote for.

Level, power and steps of the walk of either half of the images are those that are best on the other half. Intervals are
95 % bootstrap intervals over images; differences are paired. Scores are kept in `--out`: a second run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from pycocotools import mask as rle
from seed_sets import ANIMALS, shrunk
from torch import Tensor
from tqdm import tqdm

from hedgeseg.coco_segmentation import UnusableSegmentationError, encode, read_segmentation
from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.voc import VocDataModule
from hedgeseg.evaluation.seed_quality import compare_miou, mean_iou, miou_interval
from hedgeseg.models import Classifier, read_groups
from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.background import calibrate, cut
from hedgeseg.seeds.confusion import confusion_counts, iou_parts
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.learned_affinity import Learning, joined, learn_affinity
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.refine.regions import vote
from hedgeseg.seeds.seed import Seed
from hedgeseg.seeds.spread import affinity, reduced, stride_maps
from hedgeseg.seeds.walk import walk
from hedgeseg.visual import IMAGENET_MEAN, IMAGENET_STD

LEVELS = [round(0.06 * i, 2) for i in range(1, 16)]
METHODS = {
    "full_grad": {"method": "full_grad"},
    "hedge_coarse": {"method": "hedge", "stages": "coarse"},
    "grad_cam": {"method": "grad_cam"},
    "rsp": {"method": "rsp"},
}
POWERS, STEPS = (4.0, 8.0), (8, 32)
SIDE = 128
"""Longest side in pixels at which masks are scored."""


class Images:
    """The images of a data set that show a class which the network knows, every n-th where fewer are asked for."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        self.source = _source(a)
        known = read_groups(a.groups, self.source.classes)
        wanted = {c for c, group in enumerate(known) if group}
        if a.kind == "voc":
            wanted &= {self.source.classes.index(name) for name in ANIMALS}
        self.wanted = wanted
        shown = {i: [c for c in self.source.labels(i) if c in wanted] for i in range(len(self.source))}
        chosen = [i for i, classes in shown.items() if classes and self.source.mask(i) is not None]
        count = min(a.limit or len(chosen), len(chosen))
        self.chosen = [chosen[i * len(chosen) // count] for i in range(count)]
        self.classes = {str(i): shown[i] for i in self.chosen}
        self.names = list(self.classes)

    def image(self, name: str) -> Tensor:
        """The picture as the network takes it, its shape kept, the long side `--size` (odd or even as that is)."""
        picture = self.source.image(int(name))
        scale = self.a.size / max(picture.shape[:2])
        height, width = (self.a.size % 2 + 2 * round((s * scale - self.a.size % 2) / 2) for s in picture.shape[:2])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        mean = IMAGENET_MEAN if self.a.mean is None else (self.a.mean,) * 3
        std = IMAGENET_STD if self.a.std is None else (self.a.std,) * 3
        return torch.from_numpy(((small / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1).contiguous()

    def truth(self, name: str) -> Tensor:
        """True labels at the size of the evaluation; of animals alone, other things void."""
        mask = self.source.mask(int(name))
        assert mask is not None
        if self.a.kind == "voc":
            mask = np.where((mask == 0) | np.isin(mask, [c + 1 for c in self.wanted]), mask, 255).astype(np.uint8)
        return torch.from_numpy(shrunk(mask, SIDE))

    def regions(self, name: str) -> list[np.ndarray]:
        """The true polygons, whatever they are of, bool at the size of the evaluation."""
        assert isinstance(self.source, CocoFolder)
        height, width = self.source.image(int(name)).shape[:2]
        found = []
        for shape in self.a.polygons[Path(self.source.ids[int(name)]).name]:
            try:
                lengths = encode(read_segmentation(shape, (height, width)), (height, width))
            except UnusableSegmentationError:
                continue
            found.append(shrunk(np.asarray(rle.decode(lengths)), SIDE).astype(bool))
        return found


def _source(a: argparse.Namespace) -> LabelledImages:
    if a.kind == "coco":
        return CocoFolder(a.root, verify=False)
    module = VocDataModule(a.root, year=2012, predict_split="train", subset="segmentation", labels="mask")
    module.setup("predict")
    assert module.predict_dataset is not None
    return module.predict_dataset


class Scores:
    """Scores of every image before and after spreading, kept on disk, and the parts of their IoU at every level."""

    def __init__(self, images: Images, model: Classifier, folder: Path) -> None:
        self.images, self.model, self.folder = images, model, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.generator = SeedGenerator(flip=True, **METHODS[images.a.method])

    def make(self) -> None:
        """The map of every image, and the map spread."""
        for name in tqdm(self.images.names, desc="maps"):
            path = self.folder / f"{name}.pt"
            if path.is_file():
                continue
            image, classes = self.images.image(name), self.images.classes[name]
            size = (int(image.shape[1]) // 2, int(image.shape[2]) // 2)
            found = self.generator.scores(self.model, image, classes, size=size)
            alike = affinity(self.model, image)
            torch.save({"map": found.half(), "spread": alike.spread(resize(found, alike.size)).half()}, path)

    def of(self, name: str, what: str) -> Tensor:
        """Float (K, h, w)."""
        scores: Tensor = torch.load(self.folder / f"{name}.pt", weights_only=True)[what].float()
        return scores

    def seeds(self) -> dict[str, Seed]:
        """Seeds of the spread scores, at the level that sees no mask."""
        pooled = PooledMoments()
        for name, classes in self.images.classes.items():
            pooled.add(self.of(name, "spread"), classes)
        return {
            name: cut_seed(self.of(name, "spread"), torch.tensor(classes), Auto().over(pooled, classes))
            for name, classes in self.images.classes.items()
        }


def parts(scores: Tensor, classes: Sequence[int], truth: Tensor, labels: int, regions: Sequence[np.ndarray]) -> Tensor:
    """Hits, predicted and true pixels (levels, labels, 3) of an image's masks at every level."""
    grown, indices = resize(scores, (int(truth.shape[0]), int(truth.shape[1]))).clamp(0, 1), torch.tensor(classes)
    rows = []
    for level in LEVELS:
        probabilities = calibrate(grown, grown.new_full((1, 1, 1), level))
        mask = cut([vote(probabilities, regions) if len(regions) else probabilities], indices)
        rows.append(torch.stack(iou_parts(confusion_counts(mask, truth, labels)), dim=1))
    return torch.stack(rows)


def crossed(found: Tensor) -> tuple[Tensor, list[int]]:
    """Parts (N, labels, 3) of each half at the choice (of N x choices x labels x 3) that is best on the other half."""
    choices = range(found.shape[1])
    best = [max(choices, key=lambda c, h=half: mean_iou(found[1 - h :: 2, c])) for half in (0, 1)]
    chosen = found[:, best[0]].clone()
    chosen[1::2] = found[1::2, best[1]]
    return chosen, best


def main() -> None:
    """Make maps, learn the affinity, print the table as it grows."""
    a = parse_arguments()
    torch.set_num_threads(a.threads)
    if a.kind == "coco":
        a.polygons = _polygons(Path(a.root) / "instances.json")
    images = Images(a)
    labels = len(images.source.classes) + 1
    model = Classifier(labels - 1, a.arch, weights=a.weights, groups=a.groups, output_stride=a.output_stride).eval()
    stride = a.output_stride or "own"
    kept = Scores(images, model, Path(a.out) / f"{a.kind}_{a.arch.rpartition('/')[2]}_{a.method}_{a.size}_{stride}")
    start = time.process_time()
    kept.make()
    seconds = (time.process_time() - start) / len(images.names)
    print(f"{a.kind}, {a.arch}, stride {stride}, {a.method}, {len(images.names)} images, {seconds:.2f} s each\n")
    truths = {name: images.truth(name) for name in images.names}
    table: dict[str, Tensor] = {}

    def row(title: str, found: Tensor, against: str | None = None) -> None:
        table[title], best = crossed(found)
        low, high = miou_interval(table[title])
        line = f"| {title} | {mean_iou(table[title]):.3f} ({low:.3f}-{high:.3f}) |"
        if against is not None:
            apart = compare_miou(table[title], table[against])
            line += f" {apart.difference:+.3f} ({apart.low:+.3f} to {apart.high:+.3f}) to {against} |"
        print(f"{line}  <!-- choices {best} -->", flush=True)

    def of(what: str, regions: bool = False) -> Tensor:
        return torch.stack([
            parts(kept.of(n, what), images.classes[n], truths[n], labels, images.regions(n) if regions else ())
            for n in tqdm(images.names, desc=what, leave=False)
        ])  # fmt: skip

    row("map", of("map"))
    row("spread", of("spread"), "map")
    if a.kind == "coco":
        row("map, true regions", of("map", regions=True), "map")
        row("spread, true regions", of("spread", regions=True), "spread")
    if a.output_stride is not None:
        return
    seeds = kept.seeds()
    head = learn_affinity(model, images.names, images.image, seeds.__getitem__, Learning(seed=a.seed))
    walked: dict[str, list[Tensor]] = {"map, walk": [], "spread, walk": []}
    for name in tqdm(images.names, desc="walks"):
        with torch.no_grad():
            features = stride_maps(model, reduced(images.image(name))[None])
            by_choice: dict[str, list[Tensor]] = {title: [] for title in walked}
            embedding = head(joined(features))
            for power in POWERS:
                for steps in STEPS:
                    path = walk(embedding, power, steps)
                    for title, found in by_choice.items():
                        scores = path.spread(resize(kept.of(name, title.partition(",")[0]), path.size))
                        found.append(parts(scores, images.classes[name], truths[name], labels, ()))
        for title, found in by_choice.items():
            walked[title].append(torch.cat(found))
    row("map, walk", torch.stack(walked["map, walk"]), "spread")
    row("spread, walk", torch.stack(walked["spread, walk"]), "spread")
    print(f"\nchoices count levels {LEVELS[0]} to {LEVELS[-1]} first, then steps {STEPS}, then powers {POWERS}")


def _polygons(path: Path) -> dict[str, list[object]]:
    """The segmentations of every image, by the stem of its file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    stems = {entry["id"]: Path(entry["file_name"]).stem for entry in content["images"]}
    found: dict[str, list[object]] = {stem: [] for stem in stems.values()}
    for item in content["annotations"]:
        if not item.get("iscrowd"):
            found[stems[item["image_id"]]].append(item.get("segmentation"))
    return found


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("voc", "coco"))
    parser.add_argument("--root", required=True)
    parser.add_argument("--arch", default="mobilenet_v2")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--groups", required=True, help="ImageNet indices of each class")
    parser.add_argument("--method", default="full_grad", choices=METHODS)
    parser.add_argument("--size", type=int, default=288, help="long side of the network's input")
    parser.add_argument("--output-stride", type=int, default=None, help="8 or 16: the same maps from a dilated network")
    parser.add_argument("--mean", type=float, default=None, help="of every channel; ImageNet's without it")
    parser.add_argument("--std", type=float, default=None)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", required=True, help="folder that scores are kept in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
