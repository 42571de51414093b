"""Dictionaries that older tools keep in `.npy` files, which numpy can only store as pickles.

A pickle runs code when it is opened. Reading one therefore has to be asked for, file by file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.seeds.formats.numpy_files import read_array


def write_dictionary(folder: str | os.PathLike[str], identifier: str, content: dict[Any, Any]) -> Path:
    """Write a dictionary as `<identifier>.npy`, as `np.save` does; returns the path."""
    path = file_in(folder, identifier, ".npy")
    boxed = np.empty((), dtype=object)
    boxed[()] = content
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, boxed, allow_pickle=True)
    return path


def read_dictionary(folder: str | os.PathLike[str], identifier: str, allow_pickle: bool) -> dict[Any, Any]:
    """Read what `write_dictionary`, or another tool's `np.save(path, dict)`, wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds a pickle and `allow_pickle` is not given, the file is damaged, or it holds no
            dictionary.
    """
    path = existing(folder, identifier)
    if not allow_pickle:
        raise ValueError(
            f"{path} holds a Python pickle, which can run any code when it is opened; if you made it yourself or trust "
            "its source, pass allow_pickle=True"
        )
    stored = read_array(path, allow_pickle=True)
    content = stored.item() if isinstance(stored, np.ndarray) and stored.ndim == 0 else None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {_told(stored)}, not a dictionary of maps; is it of another format?")
    return content


def _told(stored: Any) -> str:
    return f"an array {stored.shape}" if isinstance(stored, np.ndarray) else type(stored).__name__


def existing(folder: str | os.PathLike[str], identifier: str) -> Path:
    """Path of `<identifier>.npy`.

    Raises:
        FileNotFoundError: no such file.
    """
    path = file_in(folder, identifier, ".npy")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return path
