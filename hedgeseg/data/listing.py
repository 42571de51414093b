"""What lies in a folder of somebody's pictures: image files in order, without what editors and systems leave there."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_DROPPINGS = frozenset({"__macosx", "__pycache__", "@eadir", "desktop.ini", "lost+found", "thumbs.db", "ehthumbs.db"})
_SYSTEM = ("$recycle.bin", "system volume information")
_OPENED = 8  # pairs of files of one name that are looked into
_VALUES = 16  # colours that a mask holds at most
_BESIDE = re.compile(r"(.+?)[ _.-](?:mask|masks|gt|seg|segmentation|label)(?:[ _-]?\d+)?", re.IGNORECASE)


def natural(name: str) -> list[str | int]:
    """Key that sorts numbers in names by their value: 2 before 10.

    Example:
        >>> sorted(["10", "2", "b10", "b9"], key=natural)
        ['2', '10', 'b9', 'b10']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def is_dropping(name: str) -> bool:
    """Whether a file or folder is hidden, a backup copy, or what a system leaves behind.

    Example:
        >>> [is_dropping(name) for name in (".DS_Store", "Thumbs.db", "a.png~", "~$labels.csv", "cat")]
        [True, True, True, True, False]
    """
    lower = name.lower()
    return name.startswith((".", "~$", "#")) or name.endswith("~") or lower in _DROPPINGS or lower in _SYSTEM


def folders_in(root: Path) -> list[Path]:
    """Folders of a folder in natural order, without droppings.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} not found")
    with os.scandir(root) as found:
        names = [entry.name for entry in found if entry.is_dir() and not is_dropping(entry.name)]
    return [root / name for name in sorted(names, key=natural)]


def images_in(root: Path) -> list[str]:
    """Image files of a folder and its subfolders, relative to it with `/`, sorted; droppings are left out."""
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not is_dropping(name))
        start = "" if folder == str(root) else os.path.relpath(folder, root).replace(os.sep, "/") + "/"
        found += [start + name for name in files if is_image(name)]
    return sorted(found)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not is_dropping(name)


def stem(relative: str) -> str:
    """A relative path without its suffix."""
    return os.path.splitext(relative)[0]


def mask_owner(relative: str) -> str | None:
    """The image, as a path without suffix, that a file called `<image>_mask`, `-gt`, `_mask_1`, ... belongs to.

    Example:
        >>> mask_owner("ill/a (1)_mask_2.png"), mask_owner("ill/a.png")
        ('ill/a (1)', None)
    """
    folder, slash, name = stem(relative).rpartition("/")
    found = _BESIDE.fullmatch(name)
    return None if found is None else folder + slash + found[1]


def split_off_masks(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """Images, and the masks that lie beside the images that they are named after."""
    stems = {stem(name) for name in files}
    masks = [name for name in files if mask_owner(name) in stems]
    beside = set(masks)
    return [name for name in files if name not in beside], masks


def twin_masks(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """PNG files that are the masks of photographs of the same name and folder, each with its photograph.

    A few are opened: masks are as large as their photographs and hold few values.
    """
    photographs = {stem(name): name for name in files if name.lower().endswith((".jpg", ".jpeg"))}
    twins = {name: photographs[stem(name)] for name in files if _is_png(name) and stem(name) in photographs}
    tried = list(twins.items())[:: max(1, len(twins) // _OPENED)]
    return twins if tried and all(_is_mask_of(folder / png, folder / jpeg) for png, jpeg in tried) else {}


def _is_png(name: str) -> bool:
    return name.lower().endswith(".png")


def _is_mask_of(png: Path, photograph: Path) -> bool:
    try:
        with Image.open(png) as mask, Image.open(photograph) as picture:
            return mask.size == picture.size and mask.convert("RGB").getcolors(_VALUES) is not None
    except (OSError, SyntaxError, ValueError):
        return False


def identifiers_of(files: Iterable[str]) -> list[str]:
    """Names to save results under: paths without suffix, folders joined by `__`; told apart where they would be equal.

    Example:
        >>> identifiers_of(["cat/a.png", "cat/b.jpg", "cat/b.png"])
        ['cat__a', 'cat__b_jpg', 'cat__b_png']
    """
    files = list(files)
    plain = [stem(name).replace("/", "__") for name in files]
    seen: dict[str, int] = {}
    for name in plain:
        seen[name] = seen.get(name, 0) + 1
    return [
        name if seen[name] == 1 else file.replace("/", "__").replace(".", "_")
        for name, file in zip(plain, files, strict=True)
    ]
