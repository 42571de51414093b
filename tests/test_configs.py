"""Every configuration is parsed and instantiated as train.py does it, without the data it would read."""

from pathlib import Path

import pytest
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from hedgeseg.callbacks import Evaluation, HedgeCallback
from hedgeseg.data import PseudoMaskDataModule
from hedgeseg.models import Classifier, Segmenter

ROOT = Path(__file__).parents[1]
SEGMENT = sorted((ROOT / "configs").glob("segment_*.yaml"))
EVALUATE = sorted((ROOT / "configs").glob("evaluate_*.yaml"))
CONFIGS = sorted(set((ROOT / "configs").glob("*.yaml")) - set(SEGMENT) - set(EVALUATE))
MULTICLASS = ("pet", "imagenet_s", "imagenet_segmentation")
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
    task = getattr(cli.datamodule, "task", "multiclass" if config.stem in MULTICLASS else "multilabel")
    assert cli.model.task == task


@pytest.mark.parametrize("config", SEGMENT, ids=lambda path: path.stem)
def test_segmenter_config_is_parsed_and_instantiated(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    cli = LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        run=False,
        save_config_callback=None,
        args=["--config", str(config), "--model.weights", "null", "--data.masks", "null", "--trainer.accelerator=cpu"],
    )
    assert isinstance(cli.model, Segmenter)
    assert isinstance(cli.datamodule, PseudoMaskDataModule)
    assert cli.model.num_classes == len(cli.datamodule.classes) if config.stem == "segment_shapes" else 20


@pytest.mark.parametrize("config", EVALUATE, ids=lambda path: path.stem)
def test_evaluation_config_is_parsed_and_instantiated(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    cli = LightningCLI(
        Classifier,
        LightningDataModule,
        subclass_mode_data=True,
        run=False,
        save_config_callback=None,
        args=["--config", str(config), *SMALL, "--model.fully_convolutional", "null"],
    )
    (evaluation,) = [callback for callback in cli.trainer.callbacks if isinstance(callback, Evaluation)]
    assert evaluation.methods[0].label == "hedge"
    assert evaluation.protocol.metrics
    single = "imagenet" in config.stem
    assert cli.model.task == ("multiclass" if single else "multilabel")
    assert evaluation.protocol.rows(cli.model.num_classes) in (1, 20, 80, 1000)
