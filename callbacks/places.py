"""Where a look at the watched images is shown: the folder of the run, and the loggers that can show images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from hedgeseg.callbacks.files import Files
from hedgeseg.callbacks.panels import Wandb
from hedgeseg.callbacks.snapshot import Snapshot


class Place(Protocol):
    """Somewhere a look is shown."""

    def show(self, look: Snapshot) -> None:
        """Show one look."""

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Show one GIF per watched image, by its name."""


def places(loggers: Sequence[Logger], files: Files) -> list[Place]:
    """The places of a run: its folder, then its loggers that can show images."""
    shown: list[Place] = [files]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            shown.append(Wandb(logger, files))
        elif isinstance(logger, TensorBoardLogger):
            shown.append(TensorBoard(logger))
    return shown


class TensorBoard:
    """One tag per watched image, so that TensorBoard's slider goes through its epochs."""

    def __init__(self, logger: TensorBoardLogger) -> None:
        self.logger = logger

    def show(self, look: Snapshot) -> None:
        """Log one look."""
        for suffix, panels in look.panels.items():
            for panel in panels:
                tag = f"{look.prefix}/panels{suffix}/{panel.number:03d}"
                self.logger.experiment.add_image(tag, panel.drawing, look.step, dataformats="HWC")

    def show_animations(self, prefix: str, animations: Mapping[str, Path], step: int) -> None:
        """Nothing to do: the slider is the animation."""
