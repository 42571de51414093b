"""A run with Weights & Biases (offline) and TensorBoard, read back from disk."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger


@dataclass
class LoggedRun:
    """What the loggers get, and after the block what they left.

    Attributes:
        folder: of the run; TensorBoard's events are in `tb/version_0`.
        loggers: for the trainer.
        files: of the Weights & Biases run.
        records: that it wrote.
    """

    folder: Path
    loggers: list[Logger]
    files: Path | None = None
    records: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def logged_run(folder: Path) -> Iterator[LoggedRun]:
    """Loggers for a trainer inside the block, whose records are read when it ends."""
    wandb = pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        loggers = [
            WandbLogger(project="test", save_dir=folder, mode="offline"),
            TensorBoardLogger(folder, name="tb", version=0),
        ]
        run = LoggedRun(folder, loggers)
        yield run
        wandb.finish()
        [log] = folder.glob("wandb/offline-run-*/run-*.wandb")
        command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(log)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout
    run.files = log.parent / "files"
    run.records = [json.loads(line) for line in printed.splitlines()]
