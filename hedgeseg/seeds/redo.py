"""Masks cut again from scores that are on disk: other levels, spreading and refiners, without another attribution."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hedgeseg.progress import progress
from hedgeseg.seeds.auto_level import rule_over
from hedgeseg.seeds.background import Background, as_background
from hedgeseg.seeds.convert import Conversion, check_pickle, known_format
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.describe import described
from hedgeseg.seeds.formats import ClassScores, identifiers, write_seed
from hedgeseg.seeds.fusion import normalise
from hedgeseg.seeds.manifest import open_folder
from hedgeseg.seeds.multiscale import resize
from hedgeseg.seeds.refine import Refine, as_refiner, refiner_of
from hedgeseg.seeds.refit import learn_refit
from hedgeseg.seeds.seed import Seed, check_classes
from hedgeseg.seeds.spread import Affinity
from hedgeseg.seeds.walk import Walk

Folder = str | os.PathLike[str]
Picture = Callable[[str], np.ndarray]
Alike = Callable[[str], Affinity | Walk]
Looking = tuple[nn.Module, Callable[[str], Tensor]]
"""A network, and the image (C, H, W) of an id as it takes it."""


def redo(
    source: Folder,
    target: Folder,
    source_format: str = "npz",
    *,
    background: float | str | Mapping[str, Mapping[str, Any]] | Background = "auto",
    refine: Refine = None,
    refine_side: int = 1024,
    picture: Picture | None = None,
    alike: Alike | None = None,
    refit: Looking | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Conversion:
    """Cut the masks of a folder again; an image that fails is reported, the others go on.

    The target is a folder of seeds like any other: it has a manifest, and a second run does what is missing.

    Args:
        source: folder with scores.
        target: another folder, made if it does not exist.
        source_format: a name of `hedgeseg.seeds.convert.FORMATS` that holds scores.
        background: as in `SeedGenerator`; `"auto"` places the level of a class over all images that have it.
        refine: as in `SeedGenerator`.
        refine_side: as in `SeedGenerator`.
        picture: gives the photograph, uint8 (H, W, 3), of an id. Scores of another size are brought to its size.
        alike: gives what a network sees alike in the image of an id; scores are spread over it first.
        refit: a network and its images: all scores are judged again by what they have in common
            (`hedgeseg.seeds.refit`), after they were spread.
        settings: what else decides the masks (whose network `alike` asks), for the manifest.
        allow_pickle: lets the formats of older tools be opened, which are pickles and can run code.

    Raises:
        ValueError: a format without scores or one that is pickled, the same folder twice, a refiner without pictures.
        FileNotFoundError: there is no such source.
        FolderMismatchError: the target was made with other settings.
    """
    if source_format == "png":
        raise ValueError("masks alone (png) hold no scores to cut again; give a folder of scores, such as npz")
    if os.path.realpath(source) == os.path.realpath(target):
        raise ValueError(f"{target} is the folder that is read: choose another for the new masks")
    refiner = as_refiner(refine)
    if refiner is not None and picture is None:
        raise ValueError("a refiner looks at the photographs: say where they are (picture, --images)")
    rule = as_background(background)
    reading: _Reading = _Reading(source, source_format, picture, alike, allow_pickle)
    config = {
        "source": os.path.realpath(source), "format": source_format, "background": described(rule),
        "refine": described(refine), "refine_side": refine_side, "spread": alike is not None,
        **({} if refit is None else {"refit": True}), **(settings or {}),
    }  # fmt: skip
    manifest = open_folder(target, config)
    wanted = manifest.pending(reading.ids)
    report = Conversion(done=len(reading.ids) - len(wanted))
    if refit is not None and wanted:
        reading = _Refitted(reading, refit, report)
    of_classes = rule_over(rule, reading.scored(report)) if wanted else None
    for identifier in progress(wanted, "masks", unit="image"):
        if identifier in report.failed or of_classes is None:
            continue
        try:
            scores, classes, estimates = reading(identifier)
            shown = None if picture is None else _shown(picture, identifier)
            background_ = of_classes(classes.tolist())
            own = refiner_of(refiner, identifier)
            seed = cut_seed(scores, classes, background_, own, shown, refine_side, estimates)
            write_seed(target, identifier, seed)
            report.done += 1
        except (ValueError, OSError) as error:
            report.failed[identifier] = str(error)
    return report


class _Reading:
    """Scores of a folder, at the size of the photographs, spread if that is wanted."""

    def __init__(
        self, source: Folder, name: str, picture: Picture | None, alike: Alike | None, allow_pickle: bool
    ) -> None:
        self.source, self.picture, self.alike, self.allow_pickle = source, picture, alike, allow_pickle
        self.format = known_format(name)
        check_pickle(name, allow_pickle)
        self.ids = identifiers(source, self.format.suffix)

    def __call__(self, identifier: str) -> tuple[Tensor, Tensor, Mapping[str, float]]:
        """Scores (K, H, W), classes (K,) and estimates of an image."""
        content = self.format.read(self.source, identifier, self.allow_pickle)
        if not isinstance(content, Seed | ClassScores):
            raise ValueError("there are no scores in it")
        scores = torch.as_tensor(np.asarray(content.scores, dtype=np.float32))
        estimates = content.estimates if isinstance(content, Seed) else {}
        size = tuple(scores.shape[1:])
        if self.picture is not None:
            height, width = self.picture(identifier).shape[:2]
            size = (height, width)
        if self.alike is not None and len(scores):
            found = self.alike(identifier)
            scores = normalise(found.spread(resize(scores, found.size)))
        scores = resize(scores, (size[0], size[1])).clamp(0, 1) if len(scores) else scores.new_zeros(0, *size)
        return scores, check_classes(content.classes), estimates

    def scored(self, report: Conversion) -> Iterator[tuple[Tensor, Sequence[int]]]:
        """Scores and classes of every image that can be read; the others are reported."""
        for identifier in progress(self.ids, "levels", unit="image"):
            try:
                scores, classes, _ = self(identifier)
            except (ValueError, OSError) as error:
                report.failed[identifier] = str(error)
                continue
            yield scores, classes.tolist()


class _Refitted(_Reading):
    """The same scores, judged again by what those of all images have in common."""

    def __init__(self, first: _Reading, looking: Looking, report: Conversion) -> None:
        self.first, self.ids, (model, self.image) = first, first.ids, looking
        self.refit = learn_refit(model, lambda: self._seeds(report))

    def __call__(self, identifier: str) -> tuple[Tensor, Tensor, Mapping[str, float]]:
        """Scores (K, H, W), classes (K,) and estimates of an image."""
        scores, classes, estimates = self.first(identifier)
        if len(classes):
            found = self.refit(self.image(identifier), classes.tolist()).to(scores)
            scores = resize(found, (int(scores.shape[1]), int(scores.shape[2]))).clamp(0, 1)
        return scores, classes, estimates

    def _seeds(self, report: Conversion) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        for identifier in progress(self.ids, "refit", unit="image"):
            try:
                scores, classes, _ = self.first(identifier)
                image = self.image(identifier)
            except (ValueError, OSError) as error:
                report.failed[identifier] = str(error)
                continue
            yield image, scores, classes.tolist()


def _shown(picture: Picture, identifier: str) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(np.array(picture(identifier)))
