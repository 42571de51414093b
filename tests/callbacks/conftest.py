"""Fixtures of the callbacks' tests."""

import os

import pytest
from lightning.pytorch import Trainer


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    """WandbLogger(offline=True) sets WANDB_MODE for the whole process."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    mode = os.environ.get("WANDB_MODE")
    yield
    if mode is None:
        os.environ.pop("WANDB_MODE", None)


@pytest.fixture
def make_trainer(tmp_path):
    """A quiet trainer of a few epochs on the CPU, writing below tmp_path."""

    def make(**kwargs):
        defaults = {
            "max_epochs": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return Trainer(**{**defaults, **kwargs})

    return make
