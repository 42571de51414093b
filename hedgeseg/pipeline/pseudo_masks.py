"""Masks to learn from, made of seeds on disk: judged again, background placed, the edges of the picture followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.data import LabelledImages
from hedgeseg.progress import progress as bar
from hedgeseg.seeds.auto_level import PooledMoments, rule_over
from hedgeseg.seeds.background import as_background
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.formats import has_seed, read_seed
from hedgeseg.seeds.formats.prediction import has_prediction, write_prediction
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.refine import as_refiner, refiner_of
from hedgeseg.seeds.refit import learn_refit
from hedgeseg.seeds.small_things import at_the_tip, small_classes

Places = list[tuple[int, str]]


@dataclass(frozen=True, eq=False)
class Looking:
    """A network, and what it is shown of the images.

    Attributes:
        network: in evaluation mode.
        image: float (C, H, W) of an index of the data set, on the network's device.
    """

    network: nn.Module
    image: Callable[[int], Tensor]


def write_pseudo_masks(
    seeds: Path,
    folder: Path,
    dataset: LabelledImages,
    options: Mapping[str, Any],
    progress: bool = True,
    looking: Looking | None = None,
) -> None:
    """Write the mask of every image that has a seed, with its confidence; what is there already is left alone.

    Args:
        seeds: folder that SeedWriter filled, with scores.
        folder: of the masks, made if it does not exist.
        dataset: the images of the seeds.
        options: `background` and `refine` as in `SeedGenerator` (`auto` places the level of a class over all images
            that have it), `refine_side`; `small`, the share of the pictures that tells classes of small things, whose
            scores are not judged again and whose level is high (`hedgeseg.seeds.small_things`), 0 for none.
        progress: show bars.
        looking: the network by whose maps the seeds are judged again (`hedgeseg.seeds.refit`); None leaves them.
    """
    refiner, side = as_refiner(options["refine"]), int(options["refine_side"])
    folder.mkdir(parents=True, exist_ok=True)
    there = [(index, name) for index, name in enumerate(dataset.ids) if has_seed(seeds, name)]
    wanted = [(index, name) for index, name in there if not has_prediction(folder, name)]
    if not wanted:
        return
    small, large = _small_and_large(seeds, there, float(options["small"]), progress)
    scores = _scores(seeds, there, looking if large else None, small, progress)

    def scored() -> Iterator[tuple[Tensor, Sequence[int]]]:
        for index, name in bar(there, "levels", unit="image", disable=not progress):
            found, classes = scores(index, name)
            yield found, classes.tolist()

    of_classes = rule_over(as_background(options["background"]), scored())
    with torch.no_grad():
        for index, name in bar(wanted, "pseudo_masks", unit="image", disable=not progress):
            found, classes = scores(index, name)
            rule = at_the_tip(of_classes(classes.tolist()), classes.tolist(), small)
            own = refiner_of(refiner, name)
            cut = cut_seed(found, classes, rule, own, _picture(dataset, index), side)
            write_prediction(folder, name, cut.mask, len(dataset.classes), cut.confidence)


def _small_and_large(seeds: Path, there: Places, share: float, progress: bool) -> tuple[frozenset[int], bool]:
    """Classes of small things, by their seeds, and whether there are others."""
    if not share:
        return frozenset(), True
    pooled = PooledMoments()
    for _, name in bar(there, "small things", unit="image", disable=not progress):
        seed = read_seed(seeds, name)
        pooled.add(seed.scores, seed.classes.tolist())
    small = small_classes(pooled, share)
    return small, len(small) < len(pooled.classes)


def _scores(
    seeds: Path, there: Places, looking: Looking | None, small: frozenset[int], progress: bool
) -> Callable[[int, str], tuple[Tensor, Tensor]]:
    """Scores (K, H, W) and classes (K,) of an image: those on disk, or those that all seeds together lead to."""

    def stored(index: int, name: str) -> tuple[Tensor, Tensor]:
        seed = read_seed(seeds, name)
        return seed.scores, seed.classes

    if looking is None:
        return stored

    def of_large(classes: Tensor) -> list[int]:
        return [k for k, c in enumerate(classes.tolist()) if c not in small]

    def shown() -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        for index, name in bar(there, "refit", unit="image", disable=not progress):
            scores, classes = stored(index, name)
            large = of_large(classes)  # what is small is background to the others
            yield looking.image(index), scores[large], classes[large].tolist()

    again = learn_refit(looking.network, shown)

    def judged(index: int, name: str) -> tuple[Tensor, Tensor]:
        scores, classes = stored(index, name)
        large = of_large(classes)
        if large:
            found = again(looking.image(index), classes[large].tolist()).to(scores)
            scores = scores.clone()
            scores[large] = resize(found, (int(scores.shape[1]), int(scores.shape[2]))).clamp(0, 1)
        return scores, classes

    return judged


def _picture(dataset: LabelledImages, index: int) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(dataset.image(index).copy())
