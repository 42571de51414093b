"""`hedgeseg audit` as it is called, with a checkpoint that was trained otherwise than the configuration says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.cli import main
from hedgeseg.models import Classifier
from hedgeseg.pipeline.auditing import configured_model

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "folder.yaml"


@pytest.fixture
def trained(tmp_path):
    """A checkpoint as LightningCLI leaves it: of a small network, where the configuration has a ResNet."""
    torch.manual_seed(0)
    module = Classifier(2, "small_cnn", task="multilabel", classes=["crack", "dent"])
    told = {**module.hparams, "_instantiator": "lightning.pytorch.cli.instantiate_module"}
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": told}, path)
    return path, module


def test_a_classifier_is_what_its_checkpoint_says(trained, tmp_path):
    path, module = trained
    found = configured_model({"arch": "resnet18", "weights": "DEFAULT"}, 2, path)
    assert found.hparams["arch"] == "small_cnn"
    assert found.classes == ("crack", "dent")
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), module.parameters(), strict=True))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        configured_model(None, 2, tmp_path / "other.ckpt")
    torch.save([1], tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match="no checkpoint of Lightning"):
        configured_model(None, 2, tmp_path / "odd.ckpt")


def test_the_command_explains_what_is_learnt_from_and_what_is_held_back(trained, tmp_path, capsys):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    for name in ("crack/a", "crack/b", "crack/c", "dent/d", "dent/e", "dent/f", "good/g", "good/h"):
        path = tmp_path / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    command = ["audit", "--config", str(CONFIG), "--checkpoint", str(trained[0]), "--out", str(tmp_path / "audit")]
    data = ["--data.root", str(tmp_path / "pictures"), "--data.background", "good", "--data.image_size", "32"]
    assert main([*command, "--device", "cpu", *data, "--data.num_workers", "0"]) == 0
    assert "6 explanations, 0 clusters stand out" in capsys.readouterr().out
    stored = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert {image["split"] for image in stored["images"]} == {"train", "val"}
    assert (tmp_path / "audit" / "audit.html").is_file()
