"""Every configuration is parsed and instantiated as train.py does it, without the data it would read."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from hedgeseg.callbacks import Evaluation, HedgeCallback
from hedgeseg.data import PseudoMaskDataModule
from hedgeseg.models import Classifier, Segmenter

ROOT = Path(__file__).parents[1]
SEGMENT = sorted((ROOT / "configs").glob("segment_*.yaml"))
EVALUATE = sorted((ROOT / "configs").glob("evaluate_*.yaml"))
CONFIGS = sorted(set((ROOT / "configs").glob("*.yaml")) - set(SEGMENT) - set(EVALUATE))
MULTICLASS = ("pet", "imagenet_s", "imagenet_segmentation", "imagenet_val")
FROM_DATA = {  # what train.py takes from the data, which are not there
    "folder": ["--model.num_classes=2"],
    "folder_csv": ["--model.num_classes=2"],
    "coco_voc_finetune": ["--model.num_classes=20"],
}
SMALL = ["--model.arch", "small_cnn", "--model.weights", "null", "--trainer.accelerator", "cpu"]


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """What a command line makes of a configuration, without running it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])

    def parse(config, arguments, command_line=LightningCLI, model=Classifier, **options):
        return command_line(
            model, LightningDataModule, subclass_mode_data=True, run=False, save_config_callback=None,
            args=["--config", str(config), *arguments], **options,
        )  # fmt: skip

    return parse


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_is_parsed_and_instantiated(config, parsed):
    cli = parsed(config, [*SMALL, *FROM_DATA.get(config.stem, ())])
    assert cli.model.num_classes >= 2
    assert cli.datamodule.batch_size >= 1
    assert any(isinstance(callback, HedgeCallback) for callback in cli.trainer.callbacks)
    task = "multiclass" if config.stem in MULTICLASS else "multilabel"
    assert cli.model.task == task


def test_a_new_head_learns_faster_than_the_trunk_that_knows_much():
    models = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["model"] for path in CONFIGS}
    tuned = {name: model for name, model in models.items() if model.get("weights") and "lr" in model}
    assert {"voc2012", "coco2014", "pet", "imagenet_s", "voc2007", "folder"} <= tuned.keys()
    assert not {name for name, model in tuned.items() if model.get("head_lr_factor", 1.0) < 10}


@pytest.mark.parametrize("config", SEGMENT, ids=lambda path: path.stem)
def test_segmenter_config_is_parsed_and_instantiated(config, parsed):
    from train import CommandLine

    class Parsed(LightningCLI):
        add_arguments_to_parser = CommandLine.add_arguments_to_parser

    options = ["--model.weights", "null", "--data.masks", "null", "--trainer.accelerator=cpu"]
    cli = parsed(config, options, Parsed, LightningModule, subclass_mode_model=True)
    assert isinstance(cli.model, Segmenter)
    assert isinstance(cli.datamodule, PseudoMaskDataModule)
    of_ones_own = {"segment_shapes": 6, "segment_folder": 2, "segment_defects": 2}
    assert cli.model.num_classes == of_ones_own.get(config.stem, 20)


@pytest.mark.parametrize("config", EVALUATE, ids=lambda path: path.stem)
def test_evaluation_config_is_parsed_and_instantiated(config, parsed):
    cli = parsed(config, [*SMALL, "--model.fully_convolutional", "null"])
    (evaluation,) = [callback for callback in cli.trainer.callbacks if isinstance(callback, Evaluation)]
    assert evaluation.methods[0].label == "hedge"
    assert evaluation.protocol.metrics
    single = "imagenet" in config.stem
    assert cli.model.task == ("multiclass" if single else "multilabel")
    assert evaluation.protocol.rows(cli.model.num_classes) in (1, 20, 80, 1000)
