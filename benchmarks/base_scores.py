"""Scores of the plain maps of an image, kept on disk, and what chains make of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from seed_sets import Case, Looking
from torch import Tensor
from tqdm import tqdm

from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.fusion import fuse, normalise
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.spread import Affinity

MAPS: dict[str, dict[str, Any]] = {
    "hedge": {"method": "hedge"},
    "hedge coarse": {"method": "hedge", "stages": "coarse"},
    "hedge ends": {"method": "hedge", "stages": "ends"},
    "grad_cam": {"method": "grad_cam"},
    "full_grad": {"method": "full_grad"},
    "rsp": {"method": "rsp"},
}
EXTENT = "hedge coarse in the extent of full_grad"
"""Two maps fused: the first says which class, the second how far."""


def seeds_of(name: str, base: dict[str, Tensor], alike: Affinity) -> Tensor:
    """Scores (K, h, w) of a map or of the fused one, spread over what is alike."""

    def one(key: str) -> Tensor:
        return normalise(alike.spread(resize(base[key], alike.size)))

    if name == EXTENT:
        return fuse([one("hedge coarse"), one("full_grad")], "extent")
    return one(name)


def base_scores(looking: Looking, maps: list[str]) -> Iterator[tuple[Case, dict[str, Tensor]]]:
    """Every chosen image with scores (K, side / 2, side / 2) of each map: an image and its mirror image, smoothed.

    What is on disk is not made again; each image's file appears whole or not at all.
    """
    looking.out.mkdir(parents=True, exist_ok=True)
    for index in tqdm(looking.chosen, desc=looking.name, mininterval=10):
        case = looking.case(index)
        path = looking.out / f"{case.name}.npz"
        known = _read(path)
        left = [name for name in maps if name not in known]
        if left:
            small = tuple(side // 2 for side in case.image.shape[-2:])
            logits = [looking.logit(c) for c in case.classes]
            for name in left:
                made = SeedGenerator(flip=True, **MAPS[name]).scores(looking.model, case.image, logits, size=small)
                known[name] = made.cpu()
            _write(path, known)
        yield case, known


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        return {}
    with np.load(path) as found:
        return {name: torch.from_numpy(found[name].astype(np.float32)) for name in found.files}


def _write(path: Path, scores: dict[str, Tensor]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: values.numpy().astype(np.float16) for name, values in scores.items()})
