"""Every configuration is parsed and instantiated as train.py does it, without the data it would read."""

from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningCLI

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.models import Classifier

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
SMALL = ["--model.arch", "small_cnn", "--model.weights", "null", "--trainer.accelerator", "cpu"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_is_parsed_and_instantiated(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    cli = LightningCLI(
        Classifier,
        LightningDataModule,
        subclass_mode_data=True,
        run=False,
        save_config_callback=None,
        args=["--config", str(config), *SMALL],
    )
    assert cli.model.num_classes >= 2
    assert cli.datamodule.batch_size >= 1
    assert any(isinstance(callback, HedgeCallback) for callback in cli.trainer.callbacks)
    task = getattr(cli.datamodule, "task", "multiclass" if config.stem in ("pet", "imagenet_s") else "multilabel")
    assert cli.model.task == task
