"""Photographs with their maps, made once and kept: what `seed_chains.py` builds its chains from."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg import attribute
from hedgeseg.data.coco import CocoFolder
from hedgeseg.data.dataset import ImageSubset
from hedgeseg.data.transforms import eval_transform
from hedgeseg.evaluation.method_run import MethodRun
from hedgeseg.models import Classifier, read_groups
from hedgeseg.seeds.fusion import fuse, normalise
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.smoothing import smooth
from hedgeseg.seeds.spread import Affinity, affinity

SMOOTHING = {"grad_cam": 0.0}
"""Share of the side; maps propagated to the input are spiky and get 0.015."""


@dataclass(frozen=True)
class Photograph:
    """What is scored: classes, picture and truth of an image at the size of the evaluation."""

    position: int
    name: str
    classes: list[int]
    picture: Tensor
    truth: Tensor


class Bench:
    """Photographs, network and maps on disk."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        self.source = CocoFolder(a.root, verify=False)
        known = read_groups(a.groups, self.source.classes)
        labels = [[c for c in self.source.labels(i) if known[c]] for i in range(len(self.source))]
        chosen = [i for i, present in enumerate(labels) if present][: a.limit]
        self.photographs = [self._photograph(i, labels[i]) for i in chosen]
        self.model = Classifier(len(self.source.classes), a.arch, weights=a.weights, groups=a.groups).eval()
        self.runs = {}
        for text in a.maps:
            method, _, sizes = text.partition("@")
            self.runs[MethodRun.parse(method).label] = [int(size) for size in sizes.split(",")]

    def _photograph(self, i: int, classes: list[int]) -> Photograph:
        image, mask = self.source.image(i), self.source.mask(i)
        shrink = min(1.0, self.a.side / max(image.shape[:2]))
        size = tuple(round(side * shrink) for side in image.shape[:2])
        pixels = F.interpolate(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float(), size=size, mode="area")[0]
        truth = F.interpolate(torch.from_numpy(mask.astype(np.float32))[None, None], size=size, mode="nearest")[0, 0]
        others = ~torch.isin(truth, torch.tensor([0, 255, *(c + 1 for c in classes)], dtype=truth.dtype))
        picture = pixels.round().to(torch.uint8).permute(1, 2, 0).contiguous()
        return Photograph(i, self.source.ids[i], classes, picture, truth.masked_fill(others, 0).to(torch.uint8))

    def maps(self, label: str, size: int, photograph: Photograph) -> Tensor:
        """Positive smoothed maps (2, K, size, size) of the image and, turned back, its mirror copy."""
        folder = self.a.out / "maps" / self.a.arch / f"{label.replace(' ', ',')}@{size}"
        path = folder / f"{photograph.name}.npz"
        if not path.is_file():
            run = MethodRun.parse(label)
            x = self.image(size, photograph)
            start = time.perf_counter()
            targets = [photograph.classes] * 2
            found = attribute(self.model, torch.stack([x, x.flip(-1)]), targets, method=run.method, **run.options).maps
            seconds = time.perf_counter() - start
            found = torch.cat([found[:1], found[1:].flip(-1)]).float()
            scale = found.abs().flatten(2).amax(2).clamp(min=1e-30)
            folder.mkdir(parents=True, exist_ok=True)
            half = (found / scale[..., None, None]).half().numpy()
            np.savez(path, maps=half, scale=scale.numpy(), seconds=seconds)
        stored = np.load(path)
        maps = torch.from_numpy(stored["maps"].astype(np.float32)) * torch.from_numpy(stored["scale"])[..., None, None]
        return smooth(maps.clamp(min=0), SMOOTHING.get(label.split(" ")[0], 0.015))

    def seconds(self, label: str, photograph: Photograph) -> float:
        """What the maps of all sizes cost, mirrored copies included."""
        folder = self.a.out / "maps" / self.a.arch
        name = label.replace(" ", ",")
        return sum(
            float(np.load(folder / f"{name}@{size}" / f"{photograph.name}.npz")["seconds"]) for size in self.runs[label]
        )

    def image(self, size: int, photograph: Photograph) -> Tensor:
        """The normalised square image (3, size, size)."""
        return ImageSubset(self.source, [photograph.position], eval_transform(size, fit="squash"))[0]["image"]

    def scores(self, photograph: Photograph) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Scores (K, H, W) of every map and fusion, plain and spread; seconds of each step."""
        size = tuple(photograph.truth.shape)
        looks = {label: [self.maps(label, side, photograph) for side in sizes] for label, sizes in self.runs.items()}
        seconds = {f"maps {label}": self.seconds(label, photograph) for label in self.runs}
        start = time.perf_counter()
        alike = affinity(self.model, self.image(max(s for sizes in self.runs.values() for s in sizes), photograph))
        seconds["spread"] = time.perf_counter() - start
        found = {}
        for spreading in (None, alike):
            plain = {label: _merged(maps, size, spreading) for label, maps in looks.items()}
            for text in self.a.fuse:
                how = "product" if "*" in text else "mean" if "+" in text else "max"
                plain[text] = fuse([plain[part] for part in text.replace("+", "*").replace("|", "*").split("*")], how)
            for label, scores in plain.items():
                name = label if spreading is None else f"{label}, spread"
                found[name] = scores if spreading is None else normalise(resize(spreading.spread(scores), size))
        return found, seconds


def _merged(looks: list[Tensor], size: tuple[int, int], spreading: Affinity | None) -> Tensor:
    grid = size if spreading is None else spreading.size
    return normalise(torch.cat([resize(look, grid) for look in looks]).sum(0))
