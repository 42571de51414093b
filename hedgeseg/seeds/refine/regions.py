"""Regions that know no class, such as those of Segment Anything, each given to the class that the scores vote for.

`refine: {regions: DIR}` reads the regions of an image from `DIR/<id>` with one of these endings:

| ending  | holds                                                                                                    |
|---------|----------------------------------------------------------------------------------------------------------|
| `.json` | a list of COCO run lengths or annotations with a `segmentation` (run lengths or polygons), as SAM writes |
|         | them; or a dictionary that has the list under `annotations` or `masks`                                  |
| `.png`  | a label image of 8 or 16 bits: 0 is no region, every other value is one                                  |
| `.npz`  | bool (R, H, W), the only array or `masks`                                                                |

A region takes the mean of the probabilities inside it. Where regions overlap, the smaller one counts; a pixel of none
keeps what it has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as rle
from torch import Tensor

from hedgeseg.coco_segmentation import UnusableSegmentationError, encode, read_segmentation
from hedgeseg.seeds.formats.files import file_in
from hedgeseg.seeds.formats.numpy_files import read_arrays

SKEWED = 0.02
"""How far the shapes of a picture and of its regions may differ, as a share: they may be of different sizes."""


class Regions:
    """A refiner that needs to know whose regions it reads: `of` binds it to an image.

    Args:
        folder: of the files.
        name: id of the image.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, folder: str | PathLike[str], name: str | None = None) -> None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"refine: {{regions: {folder}}}: there is no such folder")
        self.folder = str(folder)
        self.name = name

    def of(self, name: str | None) -> Regions:
        """The refiner of one image."""
        return Regions(self.folder, name)

    def __call__(self, picture: Tensor, probabilities: Tensor) -> Tensor:
        """Probabilities (L, H, W), those of a region all its mean.

        Raises:
            ValueError: nobody said which image it is, or its regions are of another shape or unreadable.
            FileNotFoundError: it has no regions.
        """
        if self.name is None:
            raise ValueError(
                "regions are found by the ids of images, and this one has none: use SeedWriter, MaskWriter or hedgeseg "
                "refine, or give `name` to the generator"
            )
        height, width = (int(side) for side in probabilities.shape[1:])
        return vote(probabilities, read_regions(self.folder, self.name, (height, width)))


def vote(probabilities: Tensor, regions: Sequence[np.ndarray]) -> Tensor:
    """Give every region the mean of the probabilities inside it.

    Args:
        probabilities: float (L, H, W).
        regions: bool (H, W) each, in any order; smaller ones lie on top of larger ones.

    Returns:
        float (L, H, W); sums over labels stay what they were on average over a region.
    """
    refined = probabilities.clone()
    for region in sorted(regions, key=lambda region: -int(region.sum())):
        inside = torch.from_numpy(region).to(probabilities.device)
        if bool(inside.any()):
            refined[:, inside] = probabilities[:, inside].mean(1, keepdim=True)
    return refined


def read_regions(folder: str | PathLike[str], name: str, size: tuple[int, int]) -> list[np.ndarray]:
    """The regions of an image, bool (H, W) each, brought to `size` by the nearest pixel.

    Raises:
        FileNotFoundError: it has no file.
        ValueError: a file of another layout, or regions of another shape than the picture.
    """
    readers = {".json": _from_json, ".png": _from_labels, ".npz": _from_arrays}
    for suffix, read in readers.items():
        path = file_in(folder, name, suffix)
        if path.is_file():
            return [_fitted(path, region, size) for region in read(path, size)]
    raise FileNotFoundError(f"there are no regions of {name!r}: none of {', '.join(readers)} is in {folder}")


def _from_json(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    own = size
    if isinstance(content, dict):
        told = content.get("image", content)
        if isinstance(told, dict) and {"height", "width"} <= told.keys():
            own = (int(told["height"]), int(told["width"]))
        content = next((content[key] for key in ("annotations", "masks") if key in content), None)
    if not isinstance(content, list):
        raise ValueError(f"{path} holds no list of regions, neither by itself nor under 'annotations' or 'masks'")
    return [_decoded(path, number, item, own) for number, item in enumerate(content)]


def _decoded(path: Path, number: int, item: Any, size: tuple[int, int]) -> np.ndarray:
    shape = item.get("segmentation", item) if isinstance(item, dict) else item
    try:
        if isinstance(shape, dict) and "size" in shape:
            size = (int(shape["size"][0]), int(shape["size"][1]))
        return np.asarray(rle.decode(encode(read_segmentation(shape, size), size)), dtype=bool)
    except (UnusableSegmentationError, KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: region {number} is neither run lengths nor polygons: {error}") from error


def _from_labels(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    try:
        with Image.open(path) as file:
            labels = np.asarray(file)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is damaged or no picture: {error}") from error
    if labels.ndim != 2:
        raise ValueError(f"{path} has {labels.shape[2]} channels; regions are numbers, a picture of one channel")
    return [labels == value for value in np.unique(labels).tolist() if value]


def _from_arrays(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    arrays = read_arrays(path)
    masks = arrays.get("masks", next(iter(arrays.values())) if len(arrays) == 1 else None)
    if masks is None or masks.ndim != 3:
        shapes = {key: value.shape for key, value in arrays.items()}
        raise ValueError(f"{path} holds {shapes}; regions are one array (R, H, W) of bool, called masks")
    return [np.asarray(mask) != 0 for mask in masks]


def _fitted(path: Path, region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if region.shape == size:
        return region
    (height, width), (own_height, own_width) = size, region.shape
    if abs(own_height * width / (own_width * height) - 1) > SKEWED:
        raise ValueError(f"{path} has regions of {region.shape} pixels, the picture has {size}: are they of another?")
    rows = ((np.arange(height) + 0.5) * own_height / height).astype(int)
    columns = ((np.arange(width) + 0.5) * own_width / width).astype(int)
    return region[np.ix_(rows, columns)]
