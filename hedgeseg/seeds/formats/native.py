"""hedgeseg's own pair of files: `<id>.png`, the mask, and `<id>.npz`, the scores. Neither holds a pickle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.seeds.formats.palette import read_mask, write_mask
from hedgeseg.seeds.seed import Seed

Precision = Literal["float32", "float16"]

ESTIMATE = "estimate."
"""What the names of the estimates' arrays begin with."""


def write_seed(
    folder: str | os.PathLike[str], identifier: str, seed: Seed, *, precision: Precision = "float32"
) -> tuple[Path, Path]:
    """Write a seed as `<identifier>.npz` and `<identifier>.png`; returns both paths.

    Each file appears whole or not at all, the mask last: where the mask is, the seed is complete. The bytes depend on
    the seed alone.

    Args:
        folder: made if it does not exist.
        identifier: image id; may name subfolders with `/`.
        seed: what to write.
        precision: of the scores and the confidence; `float16` halves the files and rounds at the fourth digit.

    Raises:
        ValueError: an identifier that would leave the folder, or an unknown precision.

    Example:
        >>> import tempfile
        >>> seed = Seed(torch.ones(1, 2, 2), torch.tensor([4]), torch.full((2, 2), 5, dtype=torch.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     names = [path.name for path in write_seed(folder, "a", seed)]
        ...     mask = read_seed(folder, "a").mask
        >>> names, mask.tolist()
        (['a.npz', 'a.png'], [[5, 5], [5, 5]])
    """
    if precision not in ("float32", "float16"):
        raise ValueError(f"precision must be float32 or float16, got {precision!r}")
    arrays: dict[str, Any] = {
        "scores": seed.scores.numpy().astype(precision, copy=False),
        "classes": seed.classes.numpy(),
    }
    if seed.confidence is not None:
        arrays["confidence"] = seed.confidence.numpy().astype(precision, copy=False)
    arrays.update({f"{ESTIMATE}{name}": np.float32(value) for name, value in sorted(seed.estimates.items())})
    path = file_in(folder, identifier, ".npz")
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return path, write_mask(folder, identifier, seed.mask)


def read_seed(folder: str | os.PathLike[str], identifier: str) -> Seed:
    """Read what `write_seed` wrote.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: files that do not fit each other, or hold something else.
    """
    path = file_in(folder, identifier, ".npz")
    if not path.is_file():
        raise FileNotFoundError(f"there are no scores {path}; the mask alone is read by `read_mask`")
    with np.load(path, allow_pickle=False) as stored:
        missing = {"scores", "classes"} - set(stored.files)
        if missing:
            raise ValueError(f"{path} holds {stored.files}, not {sorted(missing)}: it was not written by hedgeseg")
        scores, classes = stored["scores"], stored["classes"]
        confidence = stored["confidence"] if "confidence" in stored.files else None
        estimates = {
            name.removeprefix(ESTIMATE): float(stored[name]) for name in stored.files if name.startswith(ESTIMATE)
        }
    mask = read_mask(folder, identifier)
    try:
        return Seed(
            torch.from_numpy(scores),
            torch.from_numpy(classes),
            torch.from_numpy(mask),
            None if confidence is None else torch.from_numpy(confidence),
            estimates,
        )
    except ValueError as error:
        raise ValueError(f"{path} and its mask do not make a seed: {error}") from error


def has_seed(folder: str | os.PathLike[str], identifier: str) -> bool:
    """Whether both files of a seed are there."""
    return all(file_in(folder, identifier, suffix).is_file() for suffix in (".npz", ".png"))
