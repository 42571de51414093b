"""A folder of evidence: one file per batch, which appears whole, so that a killed audit goes on where it was.

Several processes fill one folder; each file holds the evidence of some images and is named after them.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.audit.evidence import Evidence
from hedgeseg.progress import progress
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.manifest import Manifest, open_folder

FILES = "evidence"


class EvidenceStore:
    """The evidence of a data set on disk.

    Args:
        folder: made if it does not exist.
        config: whatever decides the evidence; must be JSON.

    Attributes:
        manifest: of the folder.

    Raises:
        FolderMismatchError: the folder was made with other settings.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.manifest: Manifest = open_folder(folder, config)
        self._files = folder / FILES
        self._done = {(split, name) for path in self._paths() for split, name in _images(path)}

    def is_done(self, split: str, identifier: str) -> bool:
        """Whether an image has been looked at, also one with nothing to explain."""
        return (split, identifier) in self._done

    def add(self, split: str, identifiers: Sequence[str], found: Sequence[Evidence]) -> None:
        """Write what was found in some images.

        Args:
            split: of the images.
            identifiers: all images that were looked at.
            found: their evidence, any number of entries per image.
        """
        images = [(split, name) for name in identifiers]
        if not images:
            return
        name = hashlib.sha256(json.dumps(images).encode()).hexdigest()[:24]
        with replacing(self._files / f"{name}.npz") as temporary:
            np.savez_compressed(temporary, **_packed(images, found))
        self._done.update(images)

    def read(self) -> list[Evidence]:
        """All evidence, sorted by split, image and class; empty where there is none yet."""
        return read_store(self.manifest.folder) if self._paths() else []

    def _paths(self) -> list[Path]:
        return _whole_files(self.manifest.folder)


def _whole_files(folder: Path) -> list[Path]:
    """Evidence files, without those that are being written."""
    return sorted(path for path in (folder / FILES).glob("*.npz") if not path.name.startswith("."))


def _packed(images: Sequence[tuple[str, str]], found: Sequence[Evidence]) -> dict[str, Any]:
    names = sorted({name for entry in found for name in entry.numbers})
    views = {entry.id: entry.view for entry in found}  # all classes of an image have one
    place = {name: row for row, name in enumerate(views)}
    pictures = [np.frombuffer(entry.thumbnail, np.uint8) for entry in found]
    return {
        "images": np.array(json.dumps(images)),
        "rows": np.array(json.dumps([[e.split, e.id, e.class_index, e.probability, e.correct] for e in found])),
        "names": np.array(json.dumps(names)),
        "numbers": np.array([[e.numbers.get(n, np.nan) for n in names] for e in found], np.float64),
        "maps": _stacked([e.map for e in found]),
        "means": _stacked([e.mean for e in found]),
        "peaks": _stacked([e.peaks for e in found]),
        "views": _stacked(list(views.values())),
        "view_of": np.array([place[e.id] for e in found], np.int64),
        "drops": _stacked([e.drops for e in found]),
        "ends": np.cumsum([len(picture) for picture in pictures], dtype=np.int64),
        "pictures": np.concatenate([np.zeros(0, np.uint8), *pictures]),
    }


def _stacked(arrays: Sequence[Any]) -> Any:
    return np.stack(arrays).astype(np.float16) if arrays else np.zeros(0, np.float16)


def _images(path: Path) -> list[tuple[str, str]]:
    with _opened(path) as file:
        return [(split, name) for split, name in json.loads(str(file["images"]))]


def _unpacked(path: Path) -> Iterable[Evidence]:
    with _opened(path) as file:
        parts = {name: file[name] for name in file.files}
    names = json.loads(str(parts["names"]))
    starts = [0, *parts["ends"].tolist()]
    for row, (split, name, index, probability, correct) in enumerate(json.loads(str(parts["rows"]))):
        yield Evidence(
            id=name,
            split=split,
            class_index=index,
            probability=probability,
            correct=correct,
            map=parts["maps"][row],
            mean=parts["means"][row],
            peaks=parts["peaks"][row],
            view=parts["views"][parts["view_of"][row]],
            drops=parts["drops"][row],
            numbers=dict(zip(names, parts["numbers"][row].tolist(), strict=True)),
            thumbnail=parts["pictures"][starts[row] : starts[row + 1]].tobytes(),
        )


def _opened(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is cut short or no evidence file ({error}); remove it and run again") from error


def read_store(folder: Path) -> list[Evidence]:
    """All evidence of a folder that an audit filled, whatever it was made with, sorted by split, image and class.

    Raises:
        FileNotFoundError: the folder holds no audit.
        ValueError: a file of it is broken.
    """
    paths = _whole_files(folder)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no evidence of an audit")
    entries: dict[tuple[str, str, int], Evidence] = {}
    for path in progress(paths, "reading evidence", unit="file", leave=False):
        for entry in _unpacked(path):
            entries.setdefault(entry.key, entry)
    return [entries[key] for key in sorted(entries)]
