"""Loaders over fixed views: of cached features where the network that learns has a frozen part, else of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from hedgeseg.data.batch import collate
from hedgeseg.data.dataset import LabelledImages
from hedgeseg.data.feature_cache import CachedViews, FeatureCache, cache_digest, collate_features
from hedgeseg.data.views import DrawnViews, View, ViewOrder

_NAME = 16  # characters of a digest that name a folder


def learning_loader(
    owner: LightningDataModule,
    dataset: LabelledImages,
    views: int,
    folder: str | Path | None,
    *,
    seed: int,
    batch_size: int,
    num_workers: int = 0,
    progress: bool = True,
) -> DataLoader[Any]:
    """Batches to learn from, whose order depends on seed and epoch alone.

    Args:
        owner: of the loader; its trainer knows the epoch and the module that learns.
        dataset: images, augmented.
        views: draws of each image.
        folder: of the features; None runs the whole network every time.
        seed: of views and order.
        batch_size: images of a batch; an incomplete last one is dropped.
        num_workers: processes that read images.
        progress: show a bar while the features are computed.
    """
    drawn = DrawnViews(dataset, views if dataset.random else 1, seed)
    order = ViewOrder(len(dataset), drawn.count, seed, lambda: running_epoch(owner))
    return _loader(owner, drawn, order, folder, batch_size, num_workers, len(dataset) > batch_size, progress)


def watching_loader(
    owner: LightningDataModule,
    dataset: LabelledImages,
    folder: str | Path,
    *,
    batch_size: int,
    num_workers: int = 0,
    progress: bool = True,
) -> DataLoader[Any]:
    """Batches to watch, in order. All images must have one shape; arguments as above."""
    drawn = DrawnViews(dataset, 1)
    order = [(index, 0) for index in range(len(dataset))]
    return _loader(owner, drawn, order, folder, batch_size, num_workers, False, progress)


def running_epoch(owner: LightningDataModule) -> int:
    """Of the training that is under way; `current_epoch` lags behind while a checkpoint is taken up."""
    trainer: Any = owner.trainer
    current = None if trainer is None else trainer.fit_loop.epoch_progress.current
    return 0 if current is None else int(current.processed)


def _loader(
    owner: LightningDataModule,
    drawn: DrawnViews,
    order: Sequence[View] | Sampler[View],
    folder: str | Path | None,
    batch_size: int,
    num_workers: int,
    drop_last: bool,
    progress: bool,
) -> DataLoader[Any]:
    cache = None if folder is None else filled_cache(owner, drawn, Path(folder), progress)
    return DataLoader(
        drawn if cache is None else CachedViews(cache, drawn.source),
        batch_size=batch_size,
        sampler=order,
        drop_last=drop_last,
        num_workers=num_workers if cache is None else 0,
        persistent_workers=num_workers > 0 and cache is None,
        collate_fn=collate if cache is None else collate_features,
    )


def filled_cache(owner: LightningDataModule, drawn: DrawnViews, folder: Path, progress: bool) -> FeatureCache | None:
    """The features of the views by the module that learns, in a folder of their own; None where it has no frozen part.

    Such a module has `frozen_part()`, which gives the function from images to features and the name of its weights.
    """
    trainer: Any = owner.trainer
    module: Any = None if trainer is None else trainer.lightning_module
    part = module.frozen_part() if hasattr(module, "frozen_part") else None
    if part is None:
        return None
    features, network = part
    named = f"{network} {trainer.precision}"
    cache = FeatureCache(folder / cache_digest(drawn, named)[:_NAME], drawn, named)

    def computed(images: Any) -> Any:
        with trainer.precision_plugin.forward_context():
            return features(images)

    cache.fill(computed, module.device, progress)
    return cache
