"""True masks and photographs in folders, as what scores and reports ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.seeds.formats import identifiers, read_mask

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class LabelledFolder:
    """A folder of masks, a folder of photographs, or both; files of one image have the same name.

    Args:
        classes: Names of the classes, without background, in the order of their indices.
        masks: PNG files of ids: 0 background, class + 1, 255 void.
        images: Photographs.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: Nothing is in it.
    """

    def __init__(self, classes: tuple[str, ...], masks: Path | None = None, images: Path | None = None) -> None:
        self.classes = classes
        self._masks = masks
        self._mask_ids = frozenset() if masks is None else frozenset(identifiers(masks, ".png"))
        self._images: dict[str, Path] = {}
        if images is not None:
            for suffix in _SUFFIXES:
                self._images.update({i: images / f"{i}{suffix}" for i in identifiers(images, suffix)})
        self.ids = sorted(self._images) if images is not None else sorted(self._mask_ids)
        if not self.ids:
            raise ValueError(f"{images or masks} holds no {'photographs' if images else 'PNG masks'}")

    def mask(self, index: int) -> np.ndarray | None:
        """True labels uint8 (H, W), or None where the image has none."""
        name = self.ids[index]
        return read_mask(self._masks, name) if self._masks is not None and name in self._mask_ids else None

    def image(self, index: int) -> np.ndarray:
        """The photograph, uint8 (H, W, 3)."""
        from hedgeseg.data.images import read_image

        return read_image(self._images[self.ids[index]])


def add_folders(parser: argparse.ArgumentParser, *, images: bool) -> None:
    """Declare `--masks`, `--classes` and, where photographs are needed, `--images`."""
    if images:
        parser.add_argument("--images", type=Path, required=True, help="folder of the photographs")
    help_masks = "folder of true masks as PNG: 0 background, class + 1, 255 void; named as the seeds"
    parser.add_argument("--masks", type=Path, required=not images, help=help_masks)
    parser.add_argument(
        "--classes", default="voc", help="names: voc, a file with one per line, or a,b,c (default: %(default)s)"
    )


def labelled_folder(arguments: Any) -> LabelledFolder:
    """The folders that the arguments name."""
    from hedgeseg.commands.classes import class_names

    return LabelledFolder(class_names(arguments.classes), arguments.masks, getattr(arguments, "images", None))
