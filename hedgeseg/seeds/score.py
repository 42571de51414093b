"""How good seeds are: against true masks, as segmentation, as ranking of pixels and as detection.

The mean IoU *at the given background* is that of the masks as they are; *at the best background* is the peak of the
curve over thresholds of the scores. The best threshold is chosen with the true masks in hand: an oracle, to compare
maps with, not what a user without masks gets.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hedgeseg.metrics import SeedCurve
from hedgeseg.progress import progress as bar
from hedgeseg.seeds.components import regions, seed_objects
from hedgeseg.seeds.confusion import Unsure, confusion_counts, iou_parts, ious, miou_interval
from hedgeseg.seeds.detection import DetectionPrecision
from hedgeseg.seeds.formats import has_scores, has_seed, read_seed
from hedgeseg.seeds.map_scores import NAMES, MapScores
from hedgeseg.seeds.seed import IGNORE, LAST_CLASS, Seed


class MaskedImages(Protocol):
    """What is needed of a data set: names of its images and classes, and true masks."""

    classes: tuple[str, ...]
    ids: list[str]

    def mask(self, index: int) -> np.ndarray | None:
        """True labels uint8 (H, W), or None where the image has none."""
        ...


class SeedScore:
    """Scores that grow one seed at a time.

    Args:
        classes: names of the classes, without background, in the order of their indices.
        unsure: what a predicted 255 counts as, see `hedgeseg.seeds.confusion`.
        detection: also compute detection mAP, which costs more than all the rest.
    """

    def __init__(self, classes: Sequence[str], unsure: Unsure = "background", detection: bool = True) -> None:
        self.classes = tuple(classes)
        self.unsure: Unsure = unsure
        # sync_on_compute: whoever adds the seeds has all of them, and among several processes nobody else computes.
        self.curve = SeedCurve(num_classes=len(self.classes), sync_on_compute=False)
        self.per_map = MapScores()
        self.detection = DetectionPrecision() if detection else None
        self.counts: list[Tensor] = []

    def update(self, seed: Seed, truth: np.ndarray | Tensor, scored: bool = True) -> None:
        """Add one image.

        Args:
            seed: at the size of the true mask.
            truth: uint8 (H, W): 0 background, class + 1, 255 void.
            scored: whether the seed has scores of its own; of one made of a mask alone only the mask counts.

        Raises:
            ValueError: sizes or labels that do not fit.
        """
        true = torch.as_tensor(np.asarray(truth).astype(np.int64))
        self.counts.append(confusion_counts(seed.mask, true, len(self.classes)))
        if not scored:
            return
        self.curve.update(seed.scores, seed.classes, true)
        self.per_map.update(seed.scores, true[None] == (seed.classes + 1).view(-1, 1, 1), true != IGNORE)
        if self.detection is not None:
            self.detection.update(seed_objects(seed), regions(truth))

    def compute(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; NaN where a number is not defined.

        Keys: `images`; of the masks `miou` with `miou_low` and `miou_high` (95 % bootstrap over images),
        `precision`, `recall` (means over the classes that are predicted, that occur), `coverage` (share of pixels not
        255), `foreground` (share of foreground); of the scores `miou_best`, `background_best`,
        `pixel_average_precision`, `outside_inside_ratio` (mean outside over mean inside, each a mean over maps); of the
        regions `map_segm`, `map_segm_50`, `map_bbox`,
        `map_bbox_50`; `per_class` with `iou`, `precision` and `recall` of each class and background.

        Raises:
            ValueError: nothing was added.
        """
        if not self.counts:
            raise ValueError("no seed has been scored: no image has both a seed and a true mask")
        stacked = torch.stack(self.counts)
        return {
            "images": len(self.counts),
            **self._of_masks(stacked),
            **self._of_scores(),
            **self._of_regions(),
            "per_class": self._per_class(stacked.sum(0)),
        }

    def _of_masks(self, stacked: Tensor) -> dict[str, float]:
        counts = stacked.sum(0)
        hits, predicted, true = iou_parts(counts, self.unsure)
        low, high = miou_interval(stacked, self.unsure)
        total = counts.sum().double()
        return {
            "miou": float(ious(counts, self.unsure).nanmean()),
            "miou_low": low,
            "miou_high": high,
            "precision": float((hits / predicted)[1:].nanmean()),
            "recall": float((hits / true)[1:].nanmean()),
            "coverage": float(1 - counts[:, -1].sum() / total),
            "foreground": float(counts[:, 1:-1].sum() / total),
        }

    def _of_scores(self) -> dict[str, float]:
        if not self.curve.update_called:
            return dict.fromkeys(("miou_best", "background_best", *NAMES), float("nan"))
        curve = self.curve.compute()
        return {
            "miou_best": float(curve["miou_best"]),
            "background_best": float(curve["threshold_best"]),
            **self.per_map.compute(),
        }

    def _of_regions(self) -> dict[str, float]:
        return {} if self.detection is None or not self.detection.images else self.detection.compute()

    def _per_class(self, counts: Tensor) -> dict[str, dict[str, float]]:
        hits, predicted, true = iou_parts(counts, self.unsure)
        columns = {"iou": ious(counts, self.unsure), "precision": hits / predicted, "recall": hits / true}
        return {
            name: {column: float(values[index]) for column, values in columns.items()}
            for index, name in enumerate(("background", *self.classes))
        }


def score_seeds(
    seeds: Iterable[Seed],
    masks: Iterable[np.ndarray | Tensor],
    classes: Sequence[str],
    *,
    unsure: Unsure = "background",
    detection: bool = True,
) -> dict[str, Any]:
    """Scores of seeds in memory against true masks; see `SeedScore.compute` for what comes out."""
    score = SeedScore(classes, unsure, detection)
    for seed, mask in zip(seeds, masks, strict=True):
        score.update(seed, mask)
    return score.compute()


def score_folder(
    folder: str | os.PathLike[str],
    dataset: MaskedImages,
    *,
    unsure: Unsure = "background",
    detection: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores of a folder that `write_seed` filled, against the true masks of a data set.

    Images without a true mask or without a seed are left out and counted (`without_mask`, `without_seed`): a folder
    that is not finished looks unfinished in its scores. So are damaged seeds (`unreadable`), which a warning names. A
    folder of masks alone is scored by its masks. One picture at a time is in memory, and of all only counts; with
    `detection` also the outlines of all regions.

    Args:
        folder: of the seeds.
        dataset: tells classes and true masks.
        unsure: what a predicted 255 counts as, see `hedgeseg.seeds.confusion`.
        detection: also compute detection mAP, which costs as much again where masks are noisy.
        progress: show a bar.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no image has both, a seed does not fit its mask (the message names the image), or there are more
            classes than seeds can hold.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder of seeds {os.fspath(folder)}")
    if len(dataset.classes) > LAST_CLASS + 1:
        raise ValueError(
            f"{len(dataset.classes)} classes: seeds are masks of eight bits, which tell {LAST_CLASS + 1} classes apart"
        )
    score = SeedScore(dataset.classes, unsure, detection)
    without = {"without_mask": 0, "without_seed": 0}
    broken: dict[str, str] = {}
    marked = void = False
    shown = bar(dataset.ids, f"scores of {os.path.basename(folder)}", unit="image", disable=not progress)
    for index, identifier in enumerate(shown):
        if not has_seed(folder, identifier):
            without["without_seed"] += 1
            continue
        try:
            truth = dataset.mask(index)
        except OSError as error:
            broken[identifier] = f"true mask of {identifier}: {error}"
            continue
        if truth is None:
            without["without_mask"] += 1
            continue
        void = void or bool((truth == IGNORE).any())
        marked = marked or bool(((truth > 0) & (truth != IGNORE)).any())
        try:
            seed = read_seed(folder, identifier)
        except ValueError as error:
            broken[identifier] = str(error)
            continue
        try:
            score.update(seed, truth, has_scores(folder, identifier))
        except ValueError as error:
            raise ValueError(f"image {identifier!r}: {error}") from error
    if void and not marked:
        raise ValueError(
            "the true masks hold no class, only 255 and background: 255 counts as void, so any seeds would score 1. "
            "Are they binary masks? Say what 255 means: mask_values {255: NAME} of a data module, or --mask-values "
            "255=NAME of `hedgeseg score`"
        )
    warn_of_damage(folder, broken)
    return {**score.compute(), **without, "unreadable": len(broken)}


def warn_of_damage(folder: str | os.PathLike[str], broken: Mapping[str, str]) -> None:
    """One warning that counts the damaged seeds of a folder and names some, or their true masks, with what is wrong."""
    if broken:
        some = "; ".join(list(broken.values())[:5])
        warnings.warn(f"{os.fspath(folder)}: {len(broken)} seeds are left out: {some}", stacklevel=3)
