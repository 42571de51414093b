"""From the files of one tool to those of another.

Every format is read as a seed and written from one. Files with scores but no mask get their mask from a background
rule; files with a mask but no scores get scores of one where the mask says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import torch

from hedgeseg.seeds.background import Background, as_background, calibrate, cut
from hedgeseg.seeds.formats import (
    ClassScores,
    identifiers,
    read_clip_es,
    read_coco,
    read_irn,
    read_mask,
    read_psa,
    read_psa_crf,
    read_seed,
    read_wsol,
    write_clip_es,
    write_coco,
    write_irn,
    write_mask,
    write_psa,
    write_psa_crf,
    write_seed,
    write_wsol,
)
from hedgeseg.seeds.seed import Seed, check_classes, seed_from_mask

Folder = str | os.PathLike[str]
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Format:
    """One kind of file per image.

    Attributes:
        suffix: of the file that tells the ids of a folder.
        read: (folder, id, allow_pickle) -> what the file holds.
        write: (folder, id, seed) -> anything.
        pickled: whether the files are Python pickles, which only `allow_pickle` opens.
    """

    suffix: str
    read: Callable[[Folder, str, bool], Seed | ClassScores | np.ndarray]
    write: Callable[[Folder, str, Seed], object]
    pickled: bool = False


FORMATS: dict[str, Format] = {
    "npz": Format(".npz", lambda f, i, _: read_seed(f, i), write_seed),
    "png": Format(".png", lambda f, i, _: read_mask(f, i), lambda f, i, s: write_mask(f, i, s.mask)),
    "irn": Format(".npy", lambda f, i, p: read_irn(f, i, allow_pickle=p), write_irn, pickled=True),
    "psa": Format(".npy", lambda f, i, p: read_psa(f, i, allow_pickle=p), write_psa, pickled=True),
    "psa_crf": Format(".npy", lambda f, i, p: read_psa_crf(f, i, allow_pickle=p), write_psa_crf, pickled=True),
    "clip_es": Format(".npy", lambda f, i, p: read_clip_es(f, i, allow_pickle=p), write_clip_es, pickled=True),
    "wsol": Format(".npy", lambda f, i, _: read_wsol(f, i), write_wsol),
}
"""Formats of one file per image; `coco`, one file for all, is known to `convert` beside them."""


@dataclass
class Conversion:
    """What `convert` did: how many images, and why others failed, by id."""

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def convert(
    source: Folder,
    target: Folder,
    source_format: str,
    target_format: str,
    *,
    background: float | str | Background = 0.15,
    allow_pickle: bool = False,
    classes: Sequence[str] = (),
    file_names: Mapping[str, str] | None = None,
) -> Conversion:
    """Convert all files of a folder; a file that cannot be converted is reported, the others go on.

    Args:
        source: folder to read, or the JSON file of `coco`.
        target: folder to write, made if it does not exist, or the JSON file of `coco`.
        source_format: a name of `FORMATS`, or `coco`.
        target_format: likewise.
        background: cuts masks from files that hold only scores.
        allow_pickle: lets the formats of older tools be opened, which are pickles and can run code.
        classes: names of all classes, in the order of their indices; needed to write `coco`, and the order in which
            its categories are read.
        file_names: file of each image by its id, to be written into `coco`, which else names images by their ids.

    Raises:
        ValueError: an unknown format, a pickled format without `allow_pickle`, or `coco` without class names.
        FileNotFoundError: there is no such source.
    """
    for name in (source_format, target_format):
        if name != "coco":
            known_format(name)
    if source_format != "coco":
        check_pickle(source_format, allow_pickle)
    if target_format == "coco" and not classes:
        raise ValueError("a COCO file names its classes; pass classes=('aeroplane', ...)")
    report = Conversion()
    seeds = _seeds(source, source_format, as_background(background), allow_pickle, report, classes)
    if target_format == "coco":
        names = file_names or {}
        write_coco(target, ((names.get(identifier, identifier), seed) for identifier, seed in seeds), classes)
        return report
    write = FORMATS[target_format].write
    for identifier, seed in seeds:
        try:
            write(target, identifier, seed)
        except (ValueError, OSError) as error:
            report.done -= 1
            report.failed[identifier] = str(error)
    return report


def _without_suffix(file_name: str) -> str:
    """The id of an image file; what follows a dot is a suffix only if it is one of images."""
    path = PurePosixPath(file_name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix().lstrip("/")


def known_format(name: str) -> Format:
    """The format of one file per image with this name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; there are {', '.join(sorted(FORMATS))} (and coco, to convert)")
    return FORMATS[name]


def check_pickle(name: str, allow_pickle: bool) -> None:
    """Refuse to open a pickled format unless told to.

    Raises:
        ValueError: the format is pickled and `allow_pickle` is false.
    """
    if known_format(name).pickled and not allow_pickle:
        raise ValueError(
            f"files of format {name!r} are Python pickles, which can run any code when they are opened; if you trust "
            "where they come from, pass allow_pickle=True (--allow-pickle)"
        )


def seed_from_scores(given: ClassScores, background: Background) -> Seed:
    """Seed of scores that have no mask yet.

    Raises:
        ValueError: scores outside [0, 1] or classes that do not fit a mask.
    """
    classes = check_classes(given.classes)
    scores = torch.from_numpy(np.ascontiguousarray(given.scores, dtype=np.float32))
    if len(classes) == 0:
        return Seed(scores, classes, torch.zeros(scores.shape[1:], dtype=torch.uint8))
    levels = [calibrate(scores, level) for level in background.levels(scores)]
    return Seed(scores, classes, cut(levels, classes))


def _seeds(
    source: Folder,
    name: str,
    background: Background,
    allow_pickle: bool,
    report: Conversion,
    classes: Sequence[str],
) -> Iterable[tuple[str, Seed]]:
    if name == "coco":
        for file_name, mask in read_coco(source, classes).items():
            report.done += 1
            yield _without_suffix(file_name), seed_from_mask(mask)
        return
    chosen = FORMATS[name]
    for identifier in identifiers(source, chosen.suffix):
        try:
            seed = as_seed(chosen.read(source, identifier, allow_pickle), background)
        except (ValueError, OSError) as error:
            report.failed[identifier] = str(error)
            continue
        report.done += 1
        yield identifier, seed


def as_seed(content: Seed | ClassScores | np.ndarray, background: Background) -> Seed:
    """A seed from whatever a format holds."""
    if isinstance(content, Seed):
        return content
    if isinstance(content, ClassScores):
        return seed_from_scores(content, background)
    return seed_from_mask(content)
