"""Masks to learn from, made of seeds on disk: the background placed, the edges of the picture followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from hedgeseg.data import LabelledImages
from hedgeseg.seeds.auto_level import rule_over
from hedgeseg.seeds.background import as_background
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.formats import has_seed, read_seed
from hedgeseg.seeds.formats.prediction import has_prediction, write_prediction
from hedgeseg.seeds.refine import as_refiner


def write_pseudo_masks(
    seeds: Path, folder: Path, dataset: LabelledImages, options: Mapping[str, Any], progress: bool = True
) -> None:
    """Write the mask of every image that has a seed, with its confidence; what is there already is left alone.

    Args:
        seeds: folder that SeedWriter filled, with scores.
        folder: of the masks, made if it does not exist.
        dataset: the images of the seeds.
        options: `background` and `refine` as in `SeedGenerator` (`auto` places the level of a class over all images
            that have it), `refine_side`.
        progress: show bars.
    """
    refiner, side = as_refiner(options["refine"]), int(options["refine_side"])
    folder.mkdir(parents=True, exist_ok=True)
    there = [(index, name) for index, name in enumerate(dataset.ids) if has_seed(seeds, name)]
    wanted = [(index, name) for index, name in there if not has_prediction(folder, name)]
    if not wanted:
        return

    def scored() -> Iterator[tuple[Tensor, Sequence[int]]]:
        for _, name in tqdm(there, "levels", unit="image", disable=not progress):
            seed = read_seed(seeds, name)
            yield seed.scores, seed.classes.tolist()

    of_classes = rule_over(as_background(options["background"]), scored())
    with torch.no_grad():
        for index, name in tqdm(wanted, "pseudo_masks", unit="image", disable=not progress):
            seed = read_seed(seeds, name)
            rule = of_classes(seed.classes.tolist())
            cut = cut_seed(seed.scores, seed.classes, rule, refiner, _picture(dataset, index), side)
            write_prediction(folder, name, cut.mask, len(dataset.classes), cut.confidence)


def _picture(dataset: LabelledImages, index: int) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(dataset.image(index).copy())
