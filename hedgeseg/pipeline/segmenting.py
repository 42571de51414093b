"""Masks of new pictures by a checkpoint of a Segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hedgeseg.callbacks.mask_writer import MaskWriter
from hedgeseg.data.pictures import PicturesDataModule
from hedgeseg.models import Segmenter
from hedgeseg.pipeline.predicting import predict
from hedgeseg.seeds.manifest import parse_shard
from hedgeseg.seeds.mask_generator import MaskGenerator


def segment_pictures(
    sources: Sequence[str | Path],
    checkpoint: str | Path,
    out: str | Path,
    *,
    generator: Mapping[str, Any] | None = None,
    confidence: bool = False,
    shard: str | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    accelerator: str = "auto",
    progress: bool = True,
) -> dict[str, int]:
    """Write the mask of every picture, at its own size; what is there already is left alone.

    Args:
        sources: folders of pictures, and files.
        checkpoint: of a Segmenter; it tells classes, size and normalisation.
        out: folder of the masks.
        generator: options of `MaskGenerator`.
        confidence: also write how sure each pixel is.
        shard: "i/n" for one of n disjoint parts.
        batch_size: images of a batch.
        num_workers: processes that read pictures.
        accelerator: as Lightning's Trainer takes it.
        progress: show a bar.

    Returns:
        How many were `written`, `skipped` as they were there, and `failed`.

    Raises:
        FileNotFoundError: a source or the checkpoint is missing.
        ValueError: no checkpoint of a Segmenter, or one that does not tell what its images look like.
    """
    module = Segmenter.load(checkpoint)
    if "image_size" not in module.input:
        raise ValueError(
            f"{checkpoint} does not tell what its images look like: it was trained without a data module of "
            "hedgeseg.data; use trainer.predict with MaskWriter and your own"
        )
    shown = module.input
    classes = module.classes or tuple(f"class {index}" for index in range(module.num_classes))
    data = PicturesDataModule(
        sources,
        classes,
        shown["image_size"],
        shown["mean"],
        shown["std"],
        shown.get("fit"),
        batch_size,
        num_workers,
    )
    if shard is not None:
        data.predict_shard = parse_shard(shard)
    masks = MaskGenerator(**{"mean": shown["mean"], "std": shown["std"], **(generator or {})})
    writer = MaskWriter(str(out), masks, confidence=confidence)
    predict(module, data, writer, module.num_classes, "masks", accelerator, progress)
    return writer.counts
