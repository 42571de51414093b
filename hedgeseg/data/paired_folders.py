"""Folders of masks among or inside class folders, told by their names: which picture each of their files belongs to."""

from collections.abc import Sequence
from pathlib import Path

from hedgeseg.data.listing import folders_in

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
PHOTOGRAPH_FOLDERS = (*IMAGE_FOLDERS, "photos", "photo", "photographs", "pictures")
MASK_FOLDERS = ("masks", "mask", "ground_truth", "groundtruth", "gt", "segmentation", "segmentations")
ANNOTATION_FOLDERS = (*MASK_FOLDERS, "labels", "annotations")


def split_off_paired(folder: Path, files: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Images, and masks that lie in a folder of masks beside a folder of images.

    Args:
        folder: of one class.
        files: images of the folder, relative to it.

    Returns:
        The files that are no masks, and each mask with the path that it would have beside its image:
        `images/a_mask.png` for `masks/a_mask.png`.
    """
    partners: dict[Path, str | None] = {}
    images, masks = [], []
    for name in files:
        parts = Path(name).parts
        for depth in range(len(parts) - 1):
            if parts[depth].lower() not in ANNOTATION_FOLDERS:
                continue
            above = folder.joinpath(*parts[:depth])
            if above not in partners:
                partners[above] = _photographs(above)
            partner = partners[above]
            if partner is not None:
                masks.append((name, "/".join((*parts[:depth], partner, *parts[depth + 1 :]))))
                break
        else:
            images.append(name)
    return images, masks


def _photographs(above: Path) -> str | None:
    """The folder of images in a folder, if there is one alone."""
    found = [inner.name for inner in folders_in(above) if inner.name.lower() in PHOTOGRAPH_FOLDERS]
    return found[0] if len(found) == 1 else None
