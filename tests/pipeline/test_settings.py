from pathlib import Path

import pytest
import yaml

from hedgeseg.pipeline.networks import choose_arch, segmenter_arch
from hedgeseg.pipeline.settings import DEFAULTS, PipelineSettings, image_data, read_settings
from hedgeseg.pipeline.work import own_settings

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_nothing_given_is_the_defaults_and_shares_nothing():
    settings = read_settings({})
    assert settings.segmenter == DEFAULTS["segmenter"]
    settings.segmenter["epochs"] = 99
    assert PipelineSettings().segmenter["epochs"] == DEFAULTS["segmenter"]["epochs"]


def test_the_pipelines_own_word_is_the_last():
    config = {
        "seed_everything": 3,
        "data": {
            "class_path": "hedgeseg.data.PseudoMaskDataModule",
            "init_args": {"image_size": 64, "batch_size": None, "data": {"class_path": "Inner"}},
        },
        "model": {
            "class_path": "hedgeseg.models.Segmenter",
            "init_args": {"num_classes": 2, "lr": 0.5, "weights": "FILE"},
        },
        "trainer": {"max_epochs": 7},
        "pipeline": {"segmenter": {"lr": 0.25}, "seeds": {"method": "rsp"}},
    }
    settings = read_settings(config)
    assert (settings.seed, settings.segmenter["epochs"], settings.segmenter["lr"]) == (3, 7, 0.25)
    assert settings.segmenter["image_size"] == 64
    assert settings.segmenter["weights"] == "classifier"
    assert settings.segmenter["batch_size"] == DEFAULTS["segmenter"]["batch_size"]
    assert "gamma" not in settings.seeds  # hedging's, which rsp does not know
    assert settings.seeds["flip"] is True
    assert image_data(config) == {"class_path": "Inner"}


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="no settings 'clasifier'; there are classifier"):
        read_settings({"pipeline": {"clasifier": {}}})
    with pytest.raises(ValueError, match="segmenter has no setting 'learning_rate'; there are arch"):
        read_settings({"pipeline": {"segmenter": {"learning_rate": 1}}})


def test_an_architecture_for_both_networks():
    settings = PipelineSettings()
    choose_arch(settings, "timm/tf_efficientnet_lite0")
    assert settings.classifier["arch"] == segmenter_arch(settings) == "timm/tf_efficientnet_lite0"
    choose_arch(settings, "deeplabv3_mobilenet_v3_large")
    assert settings.classifier["arch"] == "mobilenet_v3_large"
    assert segmenter_arch(settings) == "deeplabv3_mobilenet_v3_large"
    choose_arch(settings, "unet")
    assert settings.classifier["arch"] == "mobilenet_v3_large"


def test_a_stage_depends_on_its_own_settings():
    one, other = PipelineSettings(), PipelineSettings()
    other.segmenter["lr"] = 1.0
    same = ("classifier", "seeds", "pseudo_masks", "masks")
    assert all(own_settings(one, stage) == own_settings(other, stage) for stage in same)
    assert own_settings(one, "segmenter") != own_settings(other, "segmenter")
    assert own_settings(one, "supervised") != own_settings(other, "supervised")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("segment_*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_a_segmentation_network_is_one_of_the_pipeline(path):
    config = yaml.safe_load(path.read_text())
    assert read_settings(config).segmenter["epochs"] == config["trainer"]["max_epochs"]
    assert image_data(config)["class_path"].startswith("hedgeseg.data.")
