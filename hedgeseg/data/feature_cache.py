"""What a frozen trunk says of every view of every picture, kept on disk: it is run once, however long a head learns.

The maps are written as float16, a file per map, and read through the page cache. A training from them differs from one
that runs the trunk every time, on the same views, by that rounding alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hedgeseg.data.batch import Batch, Sample, collate
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.views import DrawnViews, View
from hedgeseg.progress import progress as bar_of

Features = Callable[[torch.Tensor], list[torch.Tensor]]
"""From images (N, 3, H, W) to what the frozen part makes of them, tensors (N, ...)."""

INDEX = "features.json"
CHUNK = 16  # views that are computed together; the same ones after a kill, as sums depend on the batch


class FeatureCache:
    """The features of all views of a data set in one folder; what a kill left undone is done by the next run.

    Args:
        folder: made if it does not exist. One that was made for something else is refused.
        views: of the images.
        network: name of whatever decides the features beside the views, such as a hash of the weights.

    Raises:
        ValueError: the folder holds the features of other views or of another network.
    """

    def __init__(self, folder: Path, views: DrawnViews, network: str) -> None:
        self.folder = folder
        self.views = views
        self.digest = cache_digest(views, network)
        self.shapes: list[list[int]] = []
        self.done = 0
        if (folder / INDEX).is_file():
            stored = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if stored["digest"] != self.digest:
                raise ValueError(f"{folder} holds features of other images, views or weights: remove it")
            self.shapes, self.done = stored["shapes"], stored["done"]

    @property
    def total(self) -> int:
        """Number of views."""
        return len(self.views) * self.views.count

    def fill(self, features: Features, device: torch.device | str = "cpu", progress: bool = True) -> None:
        """Run the frozen part over all views that have not been seen yet."""
        if self.done >= self.total:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with bar_of((), "features", total=self.total, initial=self.done, unit="view", disable=not progress) as bar:
            for chunk in self._chunks():
                images = torch.stack([self.views[view]["image"] for view in chunk])
                with torch.no_grad():
                    found = [one.float().cpu().numpy() for one in features(images.to(device))]
                if not self.shapes:
                    self.shapes = [list(one.shape[1:]) for one in found]
                for stored, one in zip(self._maps("r+" if self.done else "w+"), found, strict=True):
                    stored[self.done : self.done + len(chunk)] = _half(one)
                    stored.flush()
                self.done += len(chunk)
                self._note()
                bar.update(len(chunk))

    def read(self) -> list[np.memmap]:
        """The features, float16 (images * views, ...), mapped into memory.

        Raises:
            RuntimeError: not all of them are there yet.
        """
        if self.done < self.total:
            raise RuntimeError(f"{self.folder} holds {self.done} of {self.total} views: fill it first")
        return self._maps("r")

    def _chunks(self) -> Iterator[list[View]]:
        count = self.views.count
        for start in range(self.done, self.total, CHUNK):
            yield [divmod(row, count) for row in range(start, min(start + CHUNK, self.total))]

    def _maps(self, mode: Any) -> list[np.memmap]:
        return [
            np.memmap(self.folder / f"{number}.float16", np.float16, mode, shape=(self.total, *shape))
            for number, shape in enumerate(self.shapes)
        ]

    def _note(self) -> None:
        content = {"digest": self.digest, "shapes": self.shapes, "done": self.done}
        temporary = self.folder / f".{INDEX}"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.folder / INDEX)


class CachedViews(Dataset[dict[str, Any]]):
    """Samples with `features` instead of `image`; mask and label as the views have them.

    The mask of a view is made when it is first asked for, without opening the picture, and kept.

    Args:
        cache: filled.
        source: the images of the cache, maybe with other masks.
    """

    def __init__(self, cache: FeatureCache, source: LabelledImages) -> None:
        if source.ids != cache.views.source.ids:
            raise ValueError("the features are of other images than the masks")
        self.features = cache.read()
        self.count = cache.views.count
        self.views = DrawnViews(_Blank(source), self.count, cache.views.seed)
        self._samples: dict[View, dict[str, Any]] = {}

    def __getitem__(self, view: View) -> dict[str, Any]:
        if view not in self._samples:
            sample: dict[str, Any] = {**self.views[view]}
            sample["shape"] = tuple(sample.pop("image").shape[-2:])
            if "mask" in sample:
                sample["mask"] = sample["mask"].to(torch.uint8 if int(sample["mask"].max()) < 256 else torch.int32)
            self._samples[view] = sample
        sample = dict(self._samples[view])
        if "mask" in sample:
            sample["mask"] = sample["mask"].long()
        index, number = view
        row = index * self.count + number
        sample["features"] = [torch.from_numpy(one[row].astype(np.float32)) for one in self.features]
        return sample

    def __len__(self) -> int:
        return len(self.views)


def collate_features(samples: Sequence[dict[str, Any]]) -> Batch:
    """Joins samples of `CachedViews`: `features` becomes a list of tensors (B, ...), the rest is as in `collate`."""
    blank = torch.empty(0)
    rows: list[Any] = [
        {"image": blank, **{k: v for k, v in sample.items() if k not in ("features", "shape")}} for sample in samples
    ]
    batch = collate(rows)
    del batch["image"]
    batch["features"] = [torch.stack(parts) for parts in zip(*(s["features"] for s in samples), strict=True)]
    batch["shape"] = max(sample["shape"] for sample in samples)
    return batch


def cache_digest(views: DrawnViews, network: str) -> str:
    """Hash of what decides the features: images, their pipeline, the draws and the network."""
    told = (views.source.ids, views.count, views.seed, _pipeline(views.source), network)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hash of the parameters and buffers of a state dict."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Blank(ImageSubset):
    """The same images, black: what is drawn for a mask does not depend on what the picture shows."""

    def __init__(self, source: LabelledImages) -> None:
        super().__init__(source, range(len(source)), source.transform, source.random, source.masks)
        self._pseudo = hasattr(source, "ignore_below")
        self._last: tuple[int, np.ndarray | None] = (-1, None)

    def mask(self, index: int) -> np.ndarray | None:
        if self._last[0] != index:
            self._last = (index, self.source.mask(index))
        return self._last[1]

    def image(self, index: int) -> np.ndarray:
        mask = self.mask(index)
        assert mask is not None
        return np.zeros((*mask.shape, 3), np.uint8)

    def __getitem__(self, index: int) -> Sample:
        if self.mask(index) is None:  # the label is all that is left to tell
            none, nowhere = torch.zeros(0, 4), torch.zeros(2, dtype=torch.long)
            return Sample(
                image=torch.zeros(3, 0, 0),
                label=self._label(index),
                boxes=none,
                box_labels=torch.zeros(0, dtype=torch.long),
                id=self.ids[index],
                size=nowhere,
                content_size=nowhere,
                index=torch.tensor(index),
            )
        sample = super().__getitem__(index)
        if self._pseudo:
            sample["pseudo"] = torch.tensor(True)
        return sample


def _half(values: np.ndarray) -> np.ndarray:
    limit = float(np.finfo(np.float16).max)
    return np.clip(values, -limit, limit).astype(np.float16)


def _pipeline(source: LabelledImages) -> str:
    return "" if source.transform is None else json.dumps(source.transform.to_dict(), sort_keys=True, default=str)
