"""What folders and tables say of images, in their own words, before it is decided what the words mean."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file.

    Attributes:
        id: name to save results under, unique.
        image: the file; it may be missing.
        names: class names as they are written, each once; empty where the table says that there is none.
        relative: path of the image without suffix, with `/`: where its mask lies in a folder of masks.
        split: "train", "val" or "test", where that is said.
        group: images of one group (a patient, a video) are never divided between learning and validation.
    """

    id: str
    image: Path
    names: tuple[str, ...]
    relative: str
    split: str | None = None
    group: str | None = None


@dataclass
class Listing:
    """All that a folder or a table says.

    Attributes:
        source: what errors call it.
        names: every class name, in order.
        entries: one per image.
        single: whether every image has exactly one name by the way it is written down (class folders).
        masks: folder of masks, if there is one.
        beside: masks that lie beside their images.
        missing: images of the table that are not there.
        notes: what was taken for what, and what was left out: told once.
    """

    source: str
    names: tuple[str, ...]
    entries: list[Entry]
    single: bool = False
    masks: Path | None = None
    beside: list[tuple[str, Path]] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def splits(self) -> Iterator[str]:
        """The splits that are said, each once."""
        yield from dict.fromkeys(entry.split for entry in self.entries if entry.split)


SPLITS = {
    "train": ("train", "training", "trn", "train_set", "training_set"),
    "val": ("val", "valid", "validation", "dev", "eval", "evaluation", "val_set", "validation_set"),
    "test": ("test", "testing", "tst", "test_set", "testing_set"),
}


def split_of(name: str) -> str | None:
    """The split that a folder or a cell names, if it is the name of one.

    Example:
        >>> split_of("Validation"), split_of("cat")
        ('val', None)
    """
    return next((split for split, names in SPLITS.items() if name.strip().lower() in names), None)


def split_word(name: str) -> str | None:
    """The split that a folder's name begins or ends with; None where there is none, or two.

    Example:
        >>> split_word("seg_train"), split_word("val2017"), split_word("train_val"), split_word("trains")
        ('train', 'val', None, None)
    """
    words = re.findall("[a-z]+", name.lower())
    found = {split for word in (*words[:1], *words[-1:]) if (split := split_of(word))}
    return found.pop() if len(found) == 1 else None
