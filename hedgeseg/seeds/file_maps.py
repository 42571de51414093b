"""Maps from files, in the place of an attribution method: of CLIP, of a transformer, of anybody's tool.

`SeedGenerator(method="files:DIR")` reads `DIR/<id>.npz` or `DIR/<id>.npy` of every image, whose id `SeedWriter` knows:

| file                   | holds                                                                                     |
|------------------------|-------------------------------------------------------------------------------------------|
| `.npz`                 | `scores` (K, h, w) and `classes` (K,), as hedgeseg writes them; or `maps`, `cam`,         |
|                        | `high_res`, `attn_highres` with `keys`; or an array (h, w) per class, named by its index  |
| `.npy`, an array       | (classes, h, w): a map of every class in order; or (h, w): of the image's only class      |
| `.npy`, a pickled dict | IRN (`keys`, `high_res` or `cam`), CLIP-ES (`keys`, `attn_highres`), PSA ({class: (h, w)}) |

Pickles run code when opened: they need `allow_pickle=True`. Classes count from 0, without background; `first=1` for
files whose classes count from 1, such as PSA's CRF results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hedgeseg.seeds.formats.files import file_in
from hedgeseg.seeds.formats.numpy_files import read_array, read_arrays

PREFIX = "files:"
"""What a method's name begins with that is a folder of maps."""

MAPS = ("scores", "high_res", "attn_highres", "maps", "cam")
KEYS = ("classes", "keys")


class FileMaps:
    """Reads the maps of an image by its id; an image is neither mirrored, scaled nor smoothed for it.

    Args:
        folder: of the files.
        allow_pickle: open dictionaries of older tools, which can run any code: only if you trust the files.
        first: what the files call the class 0.

    Raises:
        FileNotFoundError: there is no such folder.
    """

    def __init__(self, folder: str | PathLike[str], allow_pickle: bool = False, first: int = 0) -> None:
        self.folder = str(folder)
        self.allow_pickle = allow_pickle
        self.first = first
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"method 'files:{folder}': there is no folder {folder}")

    def __repr__(self) -> str:
        return f"FileMaps({self.folder!r}, first={self.first})"

    def __call__(self, model: nn.Module, images: Tensor, targets: list[list[int]]) -> Tensor:
        """Refused: nothing here tells whose maps are wanted.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{self!r} finds maps by the ids of images, and these have none: use SeedWriter, or give `name` to the "
            "SeedGenerator"
        )

    def read(self, name: str | None, classes: Sequence[int]) -> Tensor:
        """The maps of one image.

        Args:
            name: id of the image.
            classes: K indices of the classes that are wanted.

        Returns:
            float32 (K, h, w), in the order of the classes.

        Raises:
            ValueError: no id, a file of another layout, a class that is not in it, values that are not finite.
            FileNotFoundError: the image has no file.
        """
        if name is None:
            self(nn.Identity(), torch.empty(0), [])
        path = self._path(str(name))
        content = read_arrays(path) if path.suffix == ".npz" else self._array(path)
        maps = _listed(path, content, classes, self.first)
        missing = [c for c in classes if c not in maps]
        if missing:
            raise ValueError(f"{path} has maps of the classes {sorted(maps)}, the image is of {missing}, too")
        try:
            found = torch.from_numpy(np.stack([np.asarray(maps[c], np.float32) for c in classes]))
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path}: the maps are no numbers of one size: {error}") from error
        if found.ndim != 3 or not found.numel():
            raise ValueError(f"{path}: a map is (h, w), these are {tuple(found.shape[1:])}")
        if not bool(torch.isfinite(found).all()):
            raise ValueError(f"{path} holds NaN or infinite values")
        return found

    def _path(self, name: str) -> Path:
        for suffix in (".npz", ".npy"):
            path = file_in(self.folder, name, suffix)
            if path.is_file():
                return path
        raise FileNotFoundError(f"there are no maps of {name!r}: neither {name}.npz nor {name}.npy is in {self.folder}")

    def _array(self, path: Path) -> Any:
        try:
            content = read_array(path, self.allow_pickle)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise ValueError(
                f"{path} is a Python pickle, which can run any code when it is opened; if you trust where it comes "
                "from, give allow_pickle: true"
            ) from error
        return content.item() if isinstance(content, np.ndarray) and content.dtype == object else content


def _listed(path: Path, content: Any, classes: Sequence[int], first: int) -> dict[int, Any]:
    """Maps by class, whatever the layout."""
    if isinstance(content, np.ndarray):
        if content.ndim == 3:
            return {i - first: content[i] for i in range(len(content))}
        if content.ndim == 2 and len(classes) == 1:
            return {classes[0]: content}
        raise ValueError(
            f"{path} is an array {content.shape}; expected (classes, h, w), or (h, w) for an image of one class (this "
            f"one has {len(classes)})"
        )
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds {type(content).__name__}, no array and no dictionary of maps")
    maps = next((content[key] for key in MAPS if key in content), None)
    keys = next((content[key] for key in KEYS if key in content), None)
    if maps is not None and keys is not None:
        indices = np.asarray(keys, np.int64).reshape(-1).tolist()
        if len(indices) != len(maps):
            raise ValueError(f"{path} has {len(indices)} keys for maps of shape {tuple(np.shape(maps))}")
        return {index - first: maps[k] for k, index in enumerate(indices)}
    try:
        return {int(key) - first: value for key, value in content.items()}
    except (ValueError, TypeError):
        raise ValueError(
            f"{path} has the keys {sorted(map(str, content))}; expected one of {', '.join(MAPS)} with one of "
            f"{' or '.join(KEYS)}, or a map per class under its index"
        ) from None
