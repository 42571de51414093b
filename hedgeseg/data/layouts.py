"""What a folder would be taken for: the data module that reads it, its options, and the command to go on with."""

import mmap
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hedgeseg.data.class_folders import read_class_folders
from hedgeseg.data.coco_parts import coco_parts
from hedgeseg.data.entries import SPLITS, Listing, split_of
from hedgeseg.data.listing import folders_in, images_in, is_dropping, is_image
from hedgeseg.data.negatives import NONE_OF_THEM, BackgroundQuestionError, as_option, without_background
from hedgeseg.data.table_images import read_labelled_table
from hedgeseg.data.voc import find_voc

_TABLES = (".csv", ".tsv")
_YEARS = (2012, 2007)


@dataclass(frozen=True)
class Layout:
    """A way to read a folder.

    Attributes:
        words: what it is.
        root: what the data module gets as `root`.
        module: name of the data module.
        config: the configuration to go on with.
        options: further options of the data module.
        notes: what was taken for what.
        question: what its owner must say before anything is learnt.
    """

    words: str
    root: Path
    module: str
    config: str
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    question: BackgroundQuestionError | None = None

    def arguments(self) -> list[str]:
        """The options of the data module as a command line takes them."""
        found = [f"--data.root={self.root}"]
        for name, value in self.options.items():
            found += [f"--data.{name}", as_option(value) if isinstance(value, list) else str(value)]
        return found

    def commands(self) -> list[str]:
        """What to type to learn from it; one command for each answer where something is asked."""
        start = f"uv run train.py fit --config configs/{self.config} --data.root {shlex.quote(str(self.root))}"
        for name, value in self.options.items():
            start += f" --data.{name} {as_option(value) if isinstance(value, list) else shlex.quote(str(value))}"
        return [start + answer for answer in self._answers("--data.background")]

    def pipelines(self) -> list[str]:
        """What to type to go on to masks and a segmentation network; nothing where that takes a configuration."""
        if self.module != "FolderDataModule" or self.options:
            return []
        name = self.root.parent.name if self.root.name == "images" else self.root.name
        start = f"uv run hedgeseg pipeline {shlex.quote(str(self.root))} --out {shlex.quote(f'runs/{name}')}"
        return [start + answer for answer in self._answers("--background")]

    def _answers(self, option: str) -> list[str]:
        """What may be said to the question, if there is one."""
        if self.question is None:
            return [""]
        return [f" {option} {as_option(self.question.names)}", f" {option} {NONE_OF_THEM}"]


def recognise(root: str | Path) -> list[Layout]:
    """The ways to read a folder, the likeliest first.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: none; says what is there.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} not found")
    found: list[Layout] = []
    reasons = []
    for look in (_voc, _coco_split, _coco_folders, _tables, _class_folders):
        if look is _class_folders and any(layout.module != "FolderDataModule" for layout in found):
            continue  # any folders look like classes
        try:
            found += look(root)
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    if found:
        return found
    inner = folders_in(root)
    if len(inner) == 1:
        return recognise(inner[0])
    images = images_in(root)
    shown = f"{len(images)} images, such as {images[0]!r}" if images else "no image"
    raise ValueError(
        f"{root} is nothing that hedgeseg knows; there is {shown}, and {_others(root)}. It reads class folders "
        "(ROOT/<class>/<image>), ROOT/images with a CSV (image,label), COCO's JSON and VOC's folders"
        + "".join(f"\n  {reason}" for reason in reasons)
    )


def _voc(root: Path) -> list[Layout]:
    for year in _YEARS:
        try:
            folder = find_voc(root, year)
        except FileNotFoundError:
            continue
        lists = {path.stem for path in (folder / "ImageSets" / "Segmentation").glob("*.txt")}
        subset = "segmentation" if lists else "main"
        if not lists:
            lists = {path.stem for path in (folder / "ImageSets" / "Main").glob("*.txt")}
        train = next((name for name in ("train", "trainval") if name in lists), None)
        val = next((name for name in ("val", "test", "trainval", "train") if name in lists), None)
        if val is None:
            raise ValueError(f"{folder} has JPEGImages but no list in ImageSets/Segmentation or ImageSets/Main")
        options: dict[str, Any] = {"train_split": train or "null", "val_split": val, "predict_split": train or val}
        if subset == "main":
            options["subset"] = "main"
        if not any((folder / "Annotations").glob("*.xml")):
            options["labels"] = "mask"
        return [Layout(f"PASCAL VOC's layout, {folder}", root, "VocDataModule", f"voc{year}.yaml", options)]
    return []


def _coco_split(root: Path) -> list[Layout]:
    for year in (2014, 2017):
        if (root / f"val{year}").is_dir() and (root / "annotations" / f"instances_val{year}.json").is_file():
            options = {} if year == 2014 else {"year": year}
            return [Layout(f"COCO {year} as published", root, "CocoDataModule", "coco2014.yaml", options)]
    return []


def _coco_folders(root: Path) -> list[Layout]:
    found = _coco_parts(root)
    for path in sorted([*root.glob("*.json"), *root.glob("annotations/*.json")]):
        if not _is_coco(path):
            continue
        name = path.relative_to(root).as_posix()
        if not (root / "images").is_dir() and not any(is_image(file.name) for file in path.parent.iterdir()):
            raise ValueError(
                f"{path} is in COCO's format, but its pictures must lie in {root / 'images'} or beside the file"
            )
        options = {} if name == "instances.json" else {"annotation": name}
        words = f"COCO's format, {name}"
        found.append(
            Layout(words, root, "CocoFolderDataModule", "coco_voc_finetune.yaml", {**options, "train_fraction": 0.7})
        )
    return found


def _coco_parts(root: Path) -> list[Layout]:
    """Folders of splits with pictures and a COCO file of one name in each."""
    inner = [folder for folder in folders_in(root) if split_of(folder.name)]
    names = [path.name for folder in inner for path in sorted(folder.glob("*.json")) if _is_coco(path)]
    found = []
    for name in dict.fromkeys(names):
        parts = coco_parts(root, name)
        notes = (f"split as given: {', '.join(split for split in SPLITS if split in parts.values())}",)
        words = f"COCO's format, {name} in {', '.join(parts)}"
        options = {"annotation": name}
        found.append(Layout(words, root, "CocoFolderDataModule", "coco_voc_finetune.yaml", options, notes))
    return found


def _is_coco(path: Path) -> bool:
    return not is_dropping(path.name) and _holds(path, b'"categories"', b'"images"', b'"annotations"')


def _tables(root: Path) -> list[Layout]:
    tables = [path.name for path in sorted(root.iterdir()) if path.suffix.lower() in _TABLES]
    found, reasons = [], []
    for name in tables:
        if is_dropping(name):
            continue
        try:
            found.append(_folder(f"a table of labels, {name}", root, "folder_csv.yaml", _table(root, name)))
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    if reasons and not found:
        raise ValueError("\n  ".join(reasons))
    return found


def _table(root: Path, name: str) -> Callable[[], tuple[Listing, dict[str, Any]]]:
    return lambda: (read_labelled_table(root, name), {"csv": name})


def _class_folders(root: Path) -> list[Layout]:
    return [_folder("class folders", root, "folder.yaml", lambda: (read_class_folders(root), {}))]


def _folder(words: str, root: Path, config: str, read: Callable[[], tuple[Listing, dict[str, Any]]]) -> Layout:
    listing, options = read()
    notes = list(listing.notes)
    splits = list(listing.splits())
    if splits:
        notes.append(f"split as given: {', '.join(splits)}")
    if any(entry.group for entry in listing.entries):
        notes.append(f"{len({entry.group for entry in listing.entries})} groups, never divided by a split")
    if listing.masks is not None:
        notes.append(f"masks in {listing.masks}")
    if listing.beside:
        notes.append(f"{len(listing.beside)} masks beside their images")
    question = None
    try:
        without_background(listing.names, None, listing.source)
    except BackgroundQuestionError as error:
        question = error
    return Layout(words, root, "FolderDataModule", config, options, tuple(notes), question)


def _holds(path: Path, *words: bytes) -> bool:
    """Whether a file, of any size, holds some words."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(word) >= 0 for word in words)


def _others(root: Path) -> str:
    """Folders and files of a folder, in a few words."""
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not is_dropping(path.name))
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "nothing else"
