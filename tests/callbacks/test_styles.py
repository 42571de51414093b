"""The callback in LightningModules as people write them, which know nothing of it."""

import pytest
import torch
import torchvision
from callback_scenes import Classifier, Scenes, loader
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from hedgeseg.callbacks import HedgeCallback

LOGGED = {"hedge/positive_ratio", "hedge/images"}


class FineTune(LightningModule):
    """A torchvision fine-tune: tuple batches of class indices, frozen features, the network an attribute."""

    def __init__(self):
        super().__init__()
        self.model = torchvision.models.squeezenet1_1(weights=None)
        self.model.classifier[1] = nn.Conv2d(512, 3, 1)
        self.model.features.requires_grad_(False)
        self.accuracy = MulticlassAccuracy(3)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.accuracy(self.model(images), labels)
        self.log("val_acc", self.accuracy)

    def configure_optimizers(self):
        return torch.optim.SGD(filter(lambda p: p.requires_grad, self.parameters()), lr=1e-3)


class Pairs(Scenes):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample["image"], index % 3


def test_torchvision_fine_tune(make_trainer):
    trainer = make_trainer(callbacks=[HedgeCallback(on_error="raise", max_images=3)], max_epochs=1)
    data = DataLoader(Pairs(4, size=64), batch_size=2)
    module = FineTune()
    trainer.fit(module, data, data)
    assert set(trainer.callback_metrics) >= LOGGED
    assert not any(p.requires_grad for p in module.model.features.parameters())


class TimmMultiLabel(LightningModule):
    """A timm backbone with an averaged copy of its weights, a dict batch and asymmetric loss."""

    def __init__(self, timm):
        super().__init__()
        self.net = timm.create_model("resnet10t", pretrained=False, num_classes=3)
        self.average = torch.optim.swa_utils.AveragedModel(self.net)

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        return nn.functional.multilabel_soft_margin_loss(self(batch["image"]), batch["label"])

    def on_train_batch_end(self, *args):
        self.average.update_parameters(self.net)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", nn.functional.multilabel_soft_margin_loss(self.average(batch["image"]), batch["label"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.net.parameters(), lr=1e-3)


@pytest.mark.parametrize("network", [None, "average.module"])
def test_timm_multi_label(make_trainer, network):
    timm = pytest.importorskip("timm")
    callback = HedgeCallback(on_error="raise", max_images=2, network=network)
    trainer = make_trainer(callbacks=[callback], max_epochs=1)
    trainer.fit(TimmMultiLabel(timm), loader(4, size=64), loader(4, size=64))
    assert set(trainer.callback_metrics) >= {*LOGGED, "hedge/pointing_game"}


class Data(LightningDataModule):
    classes = ("square", "disc", "bar")

    def train_dataloader(self):
        return loader()

    val_dataloader = predict_dataloader = train_dataloader


class Model(Classifier):
    def __init__(self, lr: float = 0.05):
        super().__init__(lr=lr)


JOB = """
seed_everything: 0
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: false
  enable_progress_bar: false
  enable_checkpointing: false
  callbacks:
    - class_path: hedgeseg.callbacks.HedgeCallback
      init_args: {max_images: 2, target: [0, 1], on_error: raise, normalisation: [[0.5], [0.25]]}
    - class_path: hedgeseg.callbacks.SeedWriter
      init_args: {folder: seeds, generator: {background: 0.2}, on_error: raise}
"""


def test_lightning_cli_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    for stage in ("fit", "predict"):
        LightningCLI(Model, Data, args=[stage, "--config", "job.yaml"], save_config_callback=None)
    assert len(list(tmp_path.glob("hedge/epoch_*/*.png"))) == 2
    assert len(list((tmp_path / "seeds").glob("*.png"))) == 8


def test_a_mistyped_argument_is_rejected(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB.replace("max_images", "max_image"))
    with pytest.raises(SystemExit):
        LightningCLI(Model, Data, args=["fit", "--config", "job.yaml"], save_config_callback=None)
    assert "max_image" in capsys.readouterr().err
