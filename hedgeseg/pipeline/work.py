"""What every stage of a pipeline is given, and where its files are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from hedgeseg.pipeline.images import PipelineImages
from hedgeseg.pipeline.settings import PipelineSettings
from hedgeseg.pipeline.training import WEIGHTS


@dataclass
class Work:
    """What every stage is given.

    Attributes:
        settings: of all stages.
        images: what is learnt from and held back.
        truth: the same images with their true masks, where scores or a yardstick were asked for.
        out: folder of the stages' folders.
        accelerator: as Lightning's Trainer takes it.
        progress: show bars.
        logger: makes a logger for a stage by its name.
    """

    settings: PipelineSettings
    images: PipelineImages
    out: Path
    truth: PipelineImages | None = None
    accelerator: str = "auto"
    progress: bool = True
    logger: Callable[[str], Logger | None] = field(default=lambda stage: None)

    def folder(self, stage: str) -> Path:
        """Of a stage."""
        return self.out / stage

    @property
    def classifier_file(self) -> Path:
        """Weights of the trained classifier."""
        return self.folder("classifier") / WEIGHTS


def mask_folder(work: Work, stage: str) -> Path:
    """Where the masks of a stage are."""
    return work.folder(stage) / ("masks/files" if stage == "supervised" else "files")


def own_settings(settings: PipelineSettings, stage: str) -> dict[str, Any]:
    """What decides the files of a stage beside the stages before it."""
    if stage == "supervised":
        return {"segmenter": settings.segmenter, "masks": settings.masks, "seed": settings.seed}
    own = {stage: getattr(settings, stage)}
    return {**own, "seed": settings.seed} if stage in ("classifier", "segmenter") else own
