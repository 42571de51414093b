"""Class folders, `<class>/**/<image>`: with folders of splits above them, beside folders of masks, or neither."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hedgeseg.data.entries import Entry, Listing, split_of, split_word
from hedgeseg.data.flat_masks import flat_mask_folder, match_by_name
from hedgeseg.data.listing import (
    folders_in,
    identifiers_of,
    images_in,
    is_image,
    natural,
    split_off_masks,
    stem,
    twin_masks,
)
from hedgeseg.data.paired_folders import (
    ANNOTATION_FOLDERS,
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    PHOTOGRAPH_FOLDERS,
    split_off_paired,
)

_PAIRED = (*PHOTOGRAPH_FOLDERS, *ANNOTATION_FOLDERS)


def read_class_folders(root: str | Path) -> Listing:
    """Reads class folders: one class per image, classes in natural order.

    | below `root`                                | read as                                                     |
    |---------------------------------------------|-------------------------------------------------------------|
    | `<class>/`                                  | classes; `masks/` in `root` or beside it, divided or not    |
    | `train/<class>/`, `val/<class>/`, ...       | classes and splits (train, val, test and their usual names) |
    | `seg_train/<class>/`, `seg_test/<class>/`   | the same, where all hold the same classes                   |
    | `images/<class>/` and, maybe, `masks/`      | the same below `images`                                     |
    | `photos/<class>/` and `masks/`              | the same below `photos`                                     |
    | `<class>/images/` and `<class>/masks/`      | classes; masks by the names of their images                 |

    Raises:
        FileNotFoundError: `root` is missing.
        ValueError: there are no class folders, or it is not clear whether a folder is one.
    """
    top = Path(root)
    base, inner = top, folders_in(top)
    pictures = _picture_folders(inner)
    if len(pictures) == 1 and folders_in(pictures[0]) and not _images_directly(pictures[0]):
        base, inner = pictures[0], folders_in(pictures[0])
    masks = _mask_folder(top, base, [folder.name for folder in inner])
    flat = flat_mask_folder(top) if masks is None else None
    inner = [folder for folder in inner if folder not in (masks, flat)]
    splits = _split_folders(inner)
    notes = []
    if splits:
        unused = [folder.name for folder in inner if folder not in splits]
        if unused:
            notes.append(f"not in a folder of a split, left out: {', '.join(unused)}")
        entries, beside, names = [], [], []
        for folder, split in splits.items():
            below = _classes(folder, _pictures_of(folder))
            entries += [replace(entry, split=split) for entry in below[0]]
            beside += below[1]
            names += below[2]
    else:
        entries, beside, names = _classes(base, inner)
        loose = _images_directly(base)
        if loose and entries:
            notes.append(f"{len(loose)} images outside the class folders left out, such as {loose[0]}")
    if not set(names) - {name for name in names if name.lower() in (*IMAGE_FOLDERS, *MASK_FOLDERS)}:
        entries = []  # what is called so is no class
    if not entries:
        raise ValueError(
            f"{root} has no class folders: expected {root}/<class>/<image>, or give a csv file{_hint(top)}"
        )
    if splits:
        entries = _with_ids(entries, base)
    if flat is not None:
        beside += match_by_name(flat, entries)
    classes = tuple(sorted(set(names), key=natural))
    return Listing(str(root), classes, entries, single=True, masks=masks, beside=beside, notes=notes)


def _classes(base: Path, folders: Sequence[Path]) -> tuple[list[Entry], list[tuple[str, Path]], list[str]]:
    """Entries, masks beside images, and names of the class folders that hold images."""
    entries: list[Entry] = []
    beside: list[tuple[str, Path]] = []
    names = []
    for folder in folders:
        files, paired = split_off_paired(folder, images_in(folder))
        images, masks = split_off_masks(files)
        twins = twin_masks(folder, images)
        images, masks = [name for name in images if name not in twins], [*masks, *twins]
        start = folder.relative_to(base).as_posix()
        if images:
            names.append(folder.name)
        identifiers = identifiers_of(f"{start}/{name}" for name in images)
        entries += [
            Entry(identifier, folder / name, (folder.name,), f"{start}/{stem(name)}")
            for identifier, name in zip(identifiers, images, strict=True)
        ]
        beside += [(f"{start}/{name}", folder / name) for name in masks]
        beside += [(f"{start}/{place}", folder / name) for name, place in paired]
    return entries, beside, names


def _with_ids(entries: Sequence[Entry], base: Path) -> list[Entry]:
    """Entries of splits, named from the folder above the splits."""
    files = [entry.image.relative_to(base).as_posix() for entry in entries]
    return [
        replace(entry, id=identifier, relative=stem(file))
        for entry, identifier, file in zip(entries, identifiers_of(files), files, strict=True)
    ]


def _split_folders(inner: Sequence[Path]) -> dict[Path, str]:
    """Folders that are splits: named so, with folders of images and no image directly in them.

    A word of a split in a longer name counts where all these folders hold the same classes.

    Raises:
        ValueError: the folders hold the same folders, and no name says that they are splits.
    """
    named = {folder: split for folder in inner if (split := split_of(folder.name))}
    repeated = _repeated(inner)
    if repeated and len(named) < len(inner) and len(set(named.values())) < 2:
        named = {folder: split for folder in inner if (split := split_of(folder.name) or split_word(folder.name))}
        if len(named) < len(inner) or len(set(named.values())) < 2:
            _ask_about(inner, repeated)
    found = {folder: split for folder, split in named.items() if _pictures_of(folder) and not _images_directly(folder)}
    alone = len(found) == len(inner)
    return found if alone or len(set(found.values())) > 1 else {}


def _repeated(inner: Sequence[Path]) -> list[str]:
    """Names of folders with images that lie in every one of several folders, if most do and there are two or more."""
    if len(inner) < 2 or any(_images_directly(folder) for folder in inner):
        return []
    below = [{one.name for one in _pictures_of(folder) if images_in(one)} for folder in inner]
    names = set.intersection(*below) - {name for one in below for name in one if name.lower() in _PAIRED}
    return sorted(names, key=natural) if len(names) > 1 and 2 * len(names) >= len(set.union(*below)) else []


def _ask_about(inner: Sequence[Path], repeated: Sequence[str]) -> None:
    first, last = inner[0], inner[-1]
    raise ValueError(
        f"{first.parent}: are {', '.join(folder.name for folder in inner)} classes, or parts of a split? All hold the "
        f"folders {', '.join(repeated[:5])}{', ...' if len(repeated) > 5 else ''}.\n"
        f"  parts of a split: name them train and val, such as: mv {first} {first.with_name('train')}; "
        f"mv {last} {last.with_name('val')}\n"
        f"  classes: move the images of each up into it, such as: mv {first / repeated[0]}/* {first}/\n"
        "  either way: list the images in a csv with the columns image,label,split, and give --data.csv"
    )


def _pictures_of(split: Path) -> list[Path]:
    """Class folders of a split, which may lie in `images`."""
    inner = folders_in(split)
    pictures = _picture_folders(inner)
    return folders_in(pictures[0]) if len(pictures) == 1 and folders_in(pictures[0]) else inner


def _picture_folders(inner: Sequence[Path]) -> list[Path]:
    """Folders that are called as pictures; photographs are a class among drawings, and pictures beside masks."""
    found = [folder for folder in inner if folder.name.lower() in IMAGE_FOLDERS]
    others = [folder for folder in inner if folder.name.lower() not in ANNOTATION_FOLDERS]
    if not found and len(others) == 1 < len(inner) and others[0].name.lower() in PHOTOGRAPH_FOLDERS:
        return others
    return found


def _mask_folder(root: Path, base: Path, names: Sequence[str]) -> Path | None:
    """The folder of masks in or beside `root`: called so, and divided as the images are."""
    candidates = [folder for folder in folders_in(root) if folder.name.lower() in MASK_FOLDERS]
    candidates += [root.parent / name for name in MASK_FOLDERS if (root.parent / name).is_dir()]
    wanted = {name for name in names if name.lower() not in MASK_FOLDERS}
    for split in names:
        if split_of(split) and (base / split).is_dir():
            wanted |= {folder.name for folder in folders_in(base / split)}
    return next(
        (folder for folder in candidates if wanted & {inner.name for inner in folders_in(folder)} and folder != root),
        None,
    )


def _images_directly(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if is_image(path.name) and path.is_file())


def _hint(root: Path) -> str:
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
    return f" (there is {', '.join(tables)})" if tables else ""
