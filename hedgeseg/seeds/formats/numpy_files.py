"""numpy's files, opened so that a damaged one is named."""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

_FAULTS = (EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)
# What a pickle raises that is cut, or made by packages that are not here, is anything.
_PICKLE_FAULTS = (*_FAULTS, AttributeError, ImportError, IndexError, TypeError, MemoryError, UnicodeDecodeError)


def read_array(path: Path, allow_pickle: bool = False) -> Any:
    """The array of a `.npy` file.

    Raises:
        ValueError: the file is damaged, cut short or something else.
    """
    try:
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=allow_pickle)
    except FileNotFoundError:
        raise
    except _PICKLE_FAULTS as error:
        raise ValueError(_said(path, error)) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a `.npz` file, by name.

    Raises:
        ValueError: the file is damaged, cut short or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except (*_FAULTS, AttributeError, TypeError) as error:
        raise ValueError(_said(path, error)) from error


def _said(path: Path, error: BaseException) -> str:
    return f"{path} is damaged or no file of numpy ({type(error).__name__}: {error}); make it again"
