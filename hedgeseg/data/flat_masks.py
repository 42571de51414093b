"""A folder of masks at the root that is not divided as the images are: masks by the names of their files alone."""

from collections.abc import Sequence
from pathlib import Path

from hedgeseg.data.entries import Entry
from hedgeseg.data.listing import folders_in, images_in, mask_owner, stem
from hedgeseg.data.paired_folders import ANNOTATION_FOLDERS


def flat_mask_folder(root: Path) -> Path | None:
    """The one folder in `root` that is called as a folder of masks and holds pictures."""
    found = [folder for folder in folders_in(root) if folder.name.lower() in ANNOTATION_FOLDERS and images_in(folder)]
    return found[0] if len(found) == 1 else None


def match_by_name(folder: Path, entries: Sequence[Entry]) -> list[tuple[str, Path]]:
    """Masks with the image of the same file name, as a path relative to the images.

    A file whose name belongs to no image keeps its own path.

    Raises:
        ValueError: no file is called as an image, or one is called as several images.
    """
    images: dict[str, list[str]] = {}
    for entry in entries:
        images.setdefault(entry.relative.rpartition("/")[2], []).append(entry.relative)
    found, matched = [], 0
    for name in images_in(folder):
        last = name.rpartition("/")[2]
        owners = images.get(stem(last)) or images.get(mask_owner(last) or "", [])
        if len(owners) > 1:
            raise ValueError(
                f"{folder / name} may be the mask of {owners[0]!r} and of {owners[1]!r}, which are called alike. Move "
                f"the masks into folders like those of the images, {folder / owners[0]}.png"
            )
        matched += len(owners)
        found.append((f"{owners[0]}{Path(name).suffix}" if owners else name, folder / name))
    if not matched:
        raise ValueError(
            f"is {folder} a class, or a folder of masks? None of its {len(found)} files, such as {found[0][0]}, is "
            f"called as an image in the other folders. If it holds masks, name each as its image; if it is a class, "
            f"rename it: mv {folder} {folder.with_name(folder.name + '_class')}"
        )
    return found
