"""The image files that the rows of a table mean."""

from collections.abc import Sequence
from pathlib import Path

from hedgeseg.data.class_folders import IMAGE_FOLDERS, MASK_FOLDERS
from hedgeseg.data.entries import Entry, Listing
from hedgeseg.data.listing import folders_in, identifiers_of, images_in, split_off_masks, stem
from hedgeseg.data.table import Row, read_table


def read_labelled_table(
    root: str | Path, csv: str, separator: str | None = None, label_columns: Sequence[str] | None = None
) -> Listing:
    """Reads `root/csv` and finds its images in `root/images` or `root`.

    Names may be relative to either, absolute, with folders, with Windows' backslashes, without a suffix, or paths of
    another machine whose end is here. An image that is not there stays in the list; loading it counts and names it.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: the table cannot be understood, or none of its images is there.
    """
    root = Path(root)
    table = read_table(root / csv, separator, label_columns)
    pictures = next((folder for folder in folders_in(root) if folder.name.lower() in IMAGE_FOLDERS), root)
    files = images_in(pictures)
    masks = next((folder for folder in folders_in(root) if folder.name.lower() in MASK_FOLDERS), None)
    if masks is not None and pictures == root:
        files = [name for name in files if not name.startswith(f"{masks.name}/")]
    images, beside = split_off_masks(files)
    known = _Known(images)
    rows: dict[tuple[str, Path], Row] = {}
    for row in table.rows:  # two ways to write one name are one image
        first = rows.setdefault(_resolve(row, known, pictures, root), row)
        first.names = tuple(dict.fromkeys((*first.names, *row.names)))
    found = list(rows)
    missing = [path for relative, path in found if relative not in known.exact and not path.is_file()]
    if len(missing) == len(found):
        raise ValueError(
            f"{root / csv}: none of its {len(found)} images is in {pictures}, such as {table.rows[0].image!r}"
            f"{f'; there lies {images[0]!r}' if images else ', which holds no image'}"
        )
    notes = list(table.notes)
    spare = len(images) - len({relative for relative, _ in found if relative in known.exact})
    if spare:
        notes.append(f"{spare} images of {pictures.name}/ are not in {csv}")
    entries = [
        Entry(identifier, path, row.names, stem(relative), row.split, row.group)
        for identifier, (relative, path), row in zip(
            identifiers_of(relative for relative, _ in found), found, rows.values(), strict=True
        )
    ]
    return Listing(
        source=str(root / csv),
        names=table.names,
        entries=entries,
        single=table.single and len(rows) == len(table.rows),
        masks=masks,
        beside=[(name, pictures / name) for name in beside],
        missing=missing,
        notes=notes,
    )


class _Known:
    """The images that are there, by every way to write their names."""

    def __init__(self, images: Sequence[str]) -> None:
        self.exact = frozenset(images)
        self.lower = {name.lower(): name for name in images}
        self.stems: dict[str, str | None] = {}
        for name in images:
            key = stem(name).lower()
            self.stems[key] = None if key in self.stems else name

    def find(self, name: str) -> str | None:
        """The image of this name: as it is, in other letters, or without its suffix."""
        if name in self.exact:
            return name
        return self.lower.get(name.lower()) or self.stems.get(name.lower())


def _resolve(row: Row, known: _Known, pictures: Path, root: Path) -> tuple[str, Path]:
    """Path relative to the images, and the file."""
    given = row.image.replace("\\", "/").removeprefix("./")
    parts = [part for part in given.split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        if ".." in parts[start:]:
            continue
        found = known.find("/".join(parts[start:]))
        # what follows a folder that is here in part only is another image
        if found is not None and (start == 0 or _leads_here(parts[:start], given, pictures, root)):
            return found, pictures / found
    path = Path(given)
    if path.is_absolute():
        return path.name, path
    if (root / given).is_file():
        return "/".join(parts), root / given
    return "/".join(parts), pictures / given


def _leads_here(dropped: Sequence[str], given: str, pictures: Path, root: Path) -> bool:
    """Whether the part of a path that is left out may be where the images lie: absolute, or their folder's name."""
    if given.startswith("/") or ":" in dropped[0]:
        return not Path(given).is_file() or Path(given).resolve().is_relative_to(pictures.resolve())
    return dropped[-1].lower() in (pictures.name.lower(), root.name.lower())
