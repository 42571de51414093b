"""True masks and photographs in folders, as what scores and reports ask for."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.commands.errors import UsageError

LabelsOf = Callable[[str], Collection[int]]


class LabelledFolder:
    """A folder of masks, a folder of photographs, or both, read as the data modules read them.

    Ids are those of the seeds: `predict` calls `cat/a.jpg` either `cat__a` or, of a COCO file, `a`.

    Args:
        classes: Names of the classes, without background, in the order of their indices.
        masks: Mask files, in any of the ways of `hedgeseg.data.mask_files`.
        images: Photographs.
        named: Ids of the seeds.
        values: What the values of the masks mean, as `hedgeseg.data.mask_values` has it; None tells it from them.
        labels_of: Classes of an image by its id: of a mask of one value, they say what is marked.
        blank_size: (height, width) of an image that shows none of the classes by its id, None of others: without a
            mask of its own, all of it is background.

    Attributes:
        ids: Of all photographs, or of all masks if there are none.
        assumed: How masks were read where nobody said how.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: Nothing is in it.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        masks: Path | None = None,
        images: Path | None = None,
        named: Collection[str] = (),
        values: Mapping[int | str, str] | None = None,
        labels_of: LabelsOf | None = None,
        blank_size: Callable[[str], tuple[int, int] | None] | None = None,
    ) -> None:
        from hedgeseg.data.listing import split_off_masks, stem
        from hedgeseg.data.mask_files import MaskFiles
        from hedgeseg.data.mask_values import MaskValues

        self.classes = classes
        self._labels_of = labels_of
        self._blank_size = blank_size
        self._values = MaskValues(classes, values, command=True)
        self._files: dict[str, Path] = {}
        self._root = images or Path()
        names = frozenset(named)
        photographs, beside = ([], []) if images is None else split_off_masks(_listed(images))
        listed = [] if masks is None else _listed(masks)
        self._masks = MaskFiles(masks, [(name, images / name) for name in beside if images is not None], classes)
        self._relative: dict[str, str] = {}
        if images is not None:
            for name, identifier in zip(photographs, _named(photographs, names, images.name), strict=True):
                self._files[identifier] = images / name
                self._relative[identifier] = stem(name)
        elif masks is not None:
            self._relative = _owners(listed, names, masks.name, classes)
            if blank_size is not None:
                bare = names - set(self._relative)
                self._relative |= {name: name for name in bare if blank_size(name) is not None}
        self.ids = sorted(self._relative)
        if not self.ids:
            raise ValueError(f"{images or masks} holds no {'photographs' if images else 'masks'}")

    @property
    def assumed(self) -> list[str]:
        """How masks were read where nobody said how."""
        return self._values.assumed

    def mask(self, index: int) -> np.ndarray | None:
        """True labels uint8 (H, W), or None where the image has none."""
        from hedgeseg.data.mask_values import union

        name = self.ids[index]
        parts = self._masks.of(self._relative[name], split=True)
        if not parts:
            size = None if self._blank_size is None or not self._masks.paths else self._blank_size(name)
            return None if size is None else np.zeros(size, np.uint8)
        labels = self._labels_of(name) if self._labels_of is not None else ()
        labels = labels or range(len(self.classes) == 1)
        return union([self._values.read(path, labels, marks) for path, marks in parts], self._values.void)

    def image(self, index: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        return self.photograph(self.ids[index])

    def photograph(self, name: str) -> np.ndarray:
        """The photograph of an id, uint8 (H, W, 3).

        Raises:
            ValueError: There is none.
        """
        if name not in self._files:
            raise ValueError(f"there is no photograph of {name!r}")
        from hedgeseg.data.images import read_image

        return read_image(self._files[name])

    def file_names(self) -> dict[str, str]:
        """File of every photograph, relative to their folder, by id."""
        return {name: path.relative_to(self._root).as_posix() for name, path in self._files.items()}

    def sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of every photograph that can be read, upright, by id; nothing is decoded."""
        from hedgeseg.data.orientation import read_header

        found = {}
        for name in self.ids:
            try:
                found[name] = read_header(self._files[name]).upright
            except (OSError, SyntaxError, ValueError) as error:
                raise ValueError(f"photograph {self._files[name]}: {error}") from error
        return found


def add_folders(parser: argparse.ArgumentParser, *, images: bool) -> None:
    """Declare `--masks`, `--mask-values`, `--classes` and, where photographs are needed, `--images`."""
    if images:
        parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    help_masks = "folder of true masks, named as the images: ids (0 background, class + 1, 255 void), or 0 and 255"
    parser.add_argument("--masks", type=Path, required=not images, help=help_masks)
    parser.add_argument(
        "--mask-values",
        action="append",
        metavar="VALUE=NAME",
        help="what a value or colour of the masks means, as in 255=crack, 255,0,0=rust or 7=void; may be repeated",
    )
    parser.add_argument("--classes", help="names: voc, a file with one per line, or a,b,c (default: the seeds' own)")


def labelled_folder(arguments: Any, seeds: Sequence[Path]) -> LabelledFolder:
    """The folders that the arguments name, beside folders of seeds.

    Raises:
        UsageError: The class names do not fit those of the seeds.
    """
    from hedgeseg.commands.seed_folder import blank_size, known_classes, labels_of, seed_ids

    named = [identifier for folder in seeds for identifier in seed_ids(folder)]
    return LabelledFolder(
        known_classes(arguments.classes, seeds, arguments.masks),
        arguments.masks,
        getattr(arguments, "images", None),
        named,
        mask_values(arguments.mask_values),
        lambda identifier: labels_of(seeds, identifier),
        lambda identifier: blank_size(seeds, identifier),
    )


def print_assumed(truth: LabelledFolder) -> None:
    """Say aloud how masks were read that do not say it themselves."""
    for how in truth.assumed:
        print(f"masks: {how}")


def mask_values(given: Sequence[str] | None) -> dict[int | str, str] | None:
    """`["255=crack"]` as `{"255": "crack"}`.

    Raises:
        UsageError: An entry of another form.
    """
    if not given:
        return None
    found: dict[int | str, str] = {}
    for entry in given:
        value, equals, name = entry.partition("=")
        if not (value and equals and name):
            raise UsageError(f"--mask-values {entry!r}: give VALUE=NAME, as in 255=crack")
        found[value] = name
    return found


def _listed(folder: Path) -> list[str]:
    from hedgeseg.data.listing import images_in

    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return images_in(folder)


def _named(files: Sequence[str], names: frozenset[str], folder: str) -> list[str]:
    """Ids of image files: those that seeds have, else the ones they would get."""
    from hedgeseg.data.listing import identifiers_of, stem

    last = Counter(stem(name).rpartition("/")[2] for name in files)
    found = []
    for name, joined in zip(files, identifiers_of(files), strict=True):
        short = stem(name).rpartition("/")[2]
        candidates = [joined, stem(name), f"{folder}__{joined}", *([short] if last[short] == 1 else [])]
        found.append(next((one for one in candidates if one in names), joined))
    return found


def _owners(files: Sequence[str], names: frozenset[str], folder: str, classes: Sequence[str]) -> dict[str, str]:
    """Ids of the images that mask files belong to, with the paths of these images."""
    from hedgeseg.data.listing import mask_owner, stem

    found: dict[str, str] = {}
    for name in files:
        owners = [stem(name), mask_owner(name)]
        owners += [one.partition("/")[2] for one in owners if one and one.partition("/")[0] in classes]
        owners += [one.rpartition("_")[0] for one in owners[:1] if one and one.rpartition("_")[2] in classes]
        owners = [one for one in owners if one]
        known = [(_named([one], names, folder)[0], one) for one in owners if one]
        identifier, owner = next(((i, o) for i, o in known if i in names), known[0])
        found.setdefault(identifier, str(owner))
    return found
