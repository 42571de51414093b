"""What a folder of seeds was made with, so that a run can be resumed and never mixed with another.

`manifest.json` in the folder holds the settings, their hash and the versions at work; `failures/` one small file per
image that failed. An image is done when its files are there (they appear whole, see `formats.files`), so a kill at any
moment loses at most the image at hand, and several processes may fill one folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hedgeseg.seeds.formats.files import file_in, identifiers, replacing, sweep, write_once
from hedgeseg.seeds.formats.native import has_seed

MANIFEST = "manifest.json"
FAILURES = ".failures"
PACKAGES = ("hedgeseg", "torch", "torchvision", "numpy")


class FolderMismatchError(ValueError):
    """The folder was made with other settings."""


@dataclass(frozen=True)
class Manifest:
    """An open folder of seeds.

    Attributes:
        folder: where the seeds are.
        config: the settings they are made with, as JSON holds them.
        digest: hash of the settings.
    """

    folder: Path
    config: Mapping[str, Any]
    digest: str

    def is_done(self, identifier: str) -> bool:
        """Whether the seed of this image is complete."""
        return has_seed(self.folder, identifier)

    def pending(self, wanted: Iterable[str]) -> list[str]:
        """The ids, of those wanted, that have no seed yet, in their order."""
        return [identifier for identifier in wanted if not self.is_done(identifier)]

    def record_failure(self, identifier: str, reason: str | BaseException) -> None:
        """Note why an image has no seed; a later run tries it again."""
        text = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
        path = file_in(self.folder / FAILURES, identifier, ".json")
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({"id": identifier, "reason": text}) + "\n", encoding="utf-8")

    def clear_failure(self, identifier: str) -> None:
        """Forget the failure of an image that has its seed now."""
        file_in(self.folder / FAILURES, identifier, ".json").unlink(missing_ok=True)

    def failures(self) -> dict[str, str]:
        """Why images failed, by id, without those that have a seed by now."""
        return failures_in(self.folder)


def failures_in(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Why images of a folder have no seed, by id; empty for a folder without failures."""
    root = Path(folder) / FAILURES
    if not root.is_dir():
        return {}
    found = {}
    for identifier in identifiers(root, ".json"):
        if not has_seed(folder, identifier):
            record = json.loads(file_in(root, identifier, ".json").read_text(encoding="utf-8"))
            found[identifier] = str(record["reason"])
    return found


def class_names_of(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the classes that a folder was made for, in the order of their indices; empty if it does not say.

    Raises:
        ValueError: the folder has a manifest of something else.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return ()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["config"].get("class_names")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a manifest of hedgeseg: {error!r}") from error
    return tuple(map(str, names or ()))


def open_folder(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> Manifest:
    """Open a folder for seeds made with these settings: a new or empty one, or one made with the same.

    Several processes may do so at once: one of them writes the manifest, the others compare theirs with it.

    Args:
        folder: made if it does not exist.
        config: whatever decides the bytes of the seeds (method, options, size, `weights_hash(model)`); must be JSON.
            Leave out what does not (number of workers, device).

    Raises:
        FolderMismatchError: the folder was made with other settings; the message lists what differs.
        ValueError: the folder holds seeds but no manifest, or settings that are not JSON.
    """
    root = Path(folder)
    settings = _as_json(config)
    digest = config_digest(settings)
    path = root / MANIFEST
    root.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        # Another process may have opened the folder since the look above.
        if any(identifiers(root, suffix) for suffix in (".npz", ".png")) and not path.is_file():
            raise ValueError(f"{root} holds seeds of unknown settings (it has no {MANIFEST}); choose an empty folder")
        content = {"digest": digest, "config": settings, "versions": versions()}
        write_once(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
    _check_same(root, json.loads(path.read_text(encoding="utf-8")), settings, digest)
    sweep(root)
    return Manifest(root, settings, digest)


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of the settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of the model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)};".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def parse_shard(text: str) -> tuple[int, int]:
    """`"i/n"` as (i, n): part i of n, counted from 0. Part i holds every n-th image from the i-th.

    Raises:
        ValueError: not of this form, or i not in [0, n).
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"shard must be i/n with 0 <= i < n, such as 0/4, got {text!r}")
    return int(index), int(count)


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(config, sort_keys=True, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings of a folder must be JSON (numbers, strings, lists, mappings): {error}") from error


def _check_same(root: Path, stored: Mapping[str, Any], settings: Mapping[str, Any], digest: str) -> None:
    if stored.get("digest") == digest:
        return
    before = _flat(stored.get("config", {}))
    now = _flat(settings)
    lines = [
        f"  {key}: {_shown(before, key)} there, {_shown(now, key)} now"
        for key in sorted(before.keys() | now.keys())
        if _shown(before, key) != _shown(now, key)
    ]
    raise FolderMismatchError(
        f"{root} was made with other settings:\n" + "\n".join(lines) + "\nchoose another folder, or the same settings"
    )


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "nothing"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat.update(_flat(item, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = item
    return flat
