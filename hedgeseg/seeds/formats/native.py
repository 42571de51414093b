"""hedgeseg's own pair of files: `<id>.png`, the mask, and `<id>.npz`, the scores. Neither holds a pickle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hedgeseg.seeds.formats.files import file_in, replacing
from hedgeseg.seeds.formats.numpy_files import read_arrays, write_arrays
from hedgeseg.seeds.formats.palette import read_mask, write_mask
from hedgeseg.seeds.seed import Seed, seed_from_mask

Precision = Literal["float32", "float16"]
Scores = Literal["full", "quarter", "none"]
QUARTER = 4
"""How many times smaller the sides of quartered scores are."""

ESTIMATE = "estimate."
"""What the names of the estimates' arrays begin with."""


def write_seed(
    folder: str | os.PathLike[str],
    identifier: str,
    seed: Seed,
    *,
    precision: Precision = "float32",
    scores: Scores = "full",
) -> tuple[Path, Path]:
    """Write a seed as `<identifier>.npz` and `<identifier>.png`; returns both paths.

    Each file appears whole or not at all, the mask last: where the mask is, the seed is complete. The bytes depend on
    the seed alone.

    Args:
        folder: made if it does not exist.
        identifier: image id; may name subfolders with `/`.
        seed: what to write.
        precision: of the scores and the confidence; `float16` halves the files and rounds at the fourth digit.
        scores: how much of scores and confidence is kept: all of it, means over 4 x 4 pixels in `float16`, or none,
            which leaves the mask alone.

    Raises:
        ValueError: an identifier that would leave the folder, an unknown precision or share of the scores.

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
    if scores not in get_args(Scores):
        raise ValueError(f"scores is one of {', '.join(get_args(Scores))}, got {scores!r}")
    path = file_in(folder, identifier, ".npz")
    if scores == "none":
        return path, write_mask(folder, identifier, seed.mask)
    kept, kind = (_shrunk, "float16") if scores == "quarter" else (_as_it_is, precision)
    arrays: dict[str, Any] = {
        "scores": kept(seed.scores).numpy().astype(kind, copy=False),
        "classes": seed.classes.numpy(),
    }
    if seed.confidence is not None:
        arrays["confidence"] = kept(seed.confidence[None])[0].numpy().astype(kind, copy=False)
    arrays.update({f"{ESTIMATE}{name}": np.float32(value) for name, value in sorted(seed.estimates.items())})
    with replacing(path) as temporary:
        write_arrays(temporary, arrays)
    return path, write_mask(folder, identifier, seed.mask)


def read_seed(folder: str | os.PathLike[str], identifier: str) -> Seed:
    """Read what `write_seed` wrote; scores of a mask that was written alone are one where it shows the class.

    Raises:
        FileNotFoundError: there is no mask.
        ValueError: files that are damaged, do not fit each other, or hold something else.
    """
    path = file_in(folder, identifier, ".npz")
    if not has_scores(folder, identifier):
        if not has_seed(folder, identifier):
            raise FileNotFoundError(f"there is no seed {path}, nor a mask beside it")
        return seed_from_mask(read_mask(folder, identifier))
    mask = read_mask(folder, identifier)
    stored = read_arrays(path)
    missing = {"scores", "classes"} - set(stored)
    if missing:
        raise ValueError(f"{path} holds {list(stored)}, not {sorted(missing)}: it was not written by hedgeseg")
    estimates = {n.removeprefix(ESTIMATE): float(v) for n, v in stored.items() if n.startswith(ESTIMATE)}
    try:
        confidence = stored.get("confidence")
        return Seed(
            _grown(torch.from_numpy(stored["scores"]), mask.shape),
            torch.from_numpy(stored["classes"]),
            torch.from_numpy(mask),
            None if confidence is None else _grown(torch.from_numpy(confidence)[None], mask.shape)[0],
            estimates,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} and its mask do not make a seed: {error}") from error


def has_seed(folder: str | os.PathLike[str], identifier: str) -> bool:
    """Whether a seed is complete: its mask, which is written last, is there."""
    return file_in(folder, identifier, ".png").is_file()


def has_scores(folder: str | os.PathLike[str], identifier: str) -> bool:
    """Whether the scores of a seed were kept."""
    return file_in(folder, identifier, ".npz").is_file()


def _as_it_is(maps: Tensor) -> Tensor:
    return maps


def _shrunk(maps: Tensor) -> Tensor:
    """Means over 4 x 4 pixels of maps (K, H, W)."""
    height, width = (-(-side // QUARTER) for side in maps.shape[1:])
    return F.adaptive_avg_pool2d(maps.float(), (height, width))


def _grown(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Quartered maps (K, h, w) at full size again; others are passed on for the seed to judge."""
    quartered = tuple(-(-side // QUARTER) for side in size)
    if maps.ndim != 3 or tuple(maps.shape[1:]) == tuple(size) or tuple(maps.shape[1:]) != quartered:
        return maps
    if not len(maps):  # an image of no class
        return maps.new_zeros(0, *size, dtype=torch.float32)
    grown = F.interpolate(maps.float()[None], size=size, mode="bilinear", align_corners=False)[0]
    return grown.clamp(0, 1)
