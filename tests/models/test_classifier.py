import json

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.nn import functional as F

from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Classifier, GroupedLogits
from hedgeseg.models.losses import focal_loss


def trainer(**more):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **more)


def shapes():
    return ShapesDataModule(num_train=16, num_val=8, num_predict=6, batch_size=4, image_size=32)


def batch(label):
    return {"image": torch.randn(len(label), 3, 32, 32), "label": label}


def test_fit_validate_test_and_predict():
    model, data, runner = Classifier(6), shapes(), trainer(max_epochs=1)
    runner.fit(model, data)
    assert {"train/loss", "val/loss", "val/map"} <= set(runner.callback_metrics)
    assert set(runner.validate(model, data, verbose=False)[0]) == {"val/loss", "val/map"}
    assert set(runner.test(model, data, verbose=False)[0]) == {"test/loss", "test/map"}
    logits = runner.predict(model, data)
    assert [tuple(part.shape) for part in logits] == [(4, 6), (2, 6)]


def test_two_runs_with_one_seed_are_equal():
    def run():
        seed_everything(3)
        model = Classifier(6)
        trainer(max_epochs=1, limit_val_batches=0).fit(model, shapes())
        return torch.cat([value.flatten().float() for value in model.state_dict().values()])

    assert torch.equal(run(), run())


def test_multilabel_loss_is_binary_cross_entropy():
    model, label = Classifier(3).eval(), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    given = batch(label)
    model.log = lambda *args, **kwargs: None
    logits = model(given["image"])
    assert torch.allclose(model.training_step(given, 0), F.binary_cross_entropy_with_logits(logits, label))


def test_multiclass_loss_is_cross_entropy():
    model, label = Classifier(3, task="multiclass").eval(), torch.tensor([2, 0])
    given = batch(label)
    model.log = lambda *args, **kwargs: None
    assert torch.allclose(model.training_step(given, 0), F.cross_entropy(model(given["image"]), label))


def test_labels_of_another_width_or_task():
    with pytest.raises(ValueError, match="does not match the data"):
        Classifier(3).training_step(batch(torch.zeros(2, 4)), 0)
    with pytest.raises(ValueError, match="does not match the data"):
        Classifier(3).training_step(batch(torch.tensor([0, 1])), 0)


def test_groups_wrap_an_imagenet_network(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"cat": [281, 282], "dog": [151]}))
    model = Classifier(3, arch="squeezenet1_0", groups=str(path), classes=["dog", "person", "cat"]).eval()
    assert isinstance(model.network, GroupedLogits)
    images = torch.randn(2, 3, 64, 64)
    fine = model.network.network(images)
    assert torch.equal(model(images)[:, 2], fine[:, [281, 282]].logsumexp(1))
    assert torch.equal(model(images)[:, 0], fine[:, 151])


def test_groups_that_do_not_fit(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"cat": [1000]}))
    with pytest.raises(ValueError, match="ImageNet index 1000"):
        Classifier(1, arch="squeezenet1_0", groups=str(path), classes=["cat"])
    with pytest.raises(ValueError, match="name the classes"):
        Classifier(3, arch="squeezenet1_0", groups=str(path))
    with pytest.raises(ValueError, match="2 class names for num_classes=3"):
        Classifier(3, classes=["a", "b"])


def test_unknown_task():
    with pytest.raises(ValueError, match="task must be"):
        Classifier(3, task="ranking")


def test_checkpoint_comes_back(tmp_path):
    model, runner = Classifier(6), trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    runner.fit(model, shapes())
    runner.save_checkpoint(tmp_path / "last.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    reused = Classifier(6, weights=str(tmp_path / "last.ckpt"))
    assert torch.equal(reused.network.classifier.weight, model.network.classifier.weight)


def test_the_loss_is_the_one_asked_for():
    label = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    given = batch(label)
    model = Classifier(3, loss="focal").eval()
    model.log = lambda *args, **kwargs: None
    assert torch.allclose(model.training_step(given, 0), focal_loss(model(given["image"]), label))
    with pytest.raises(ValueError, match="loss must be one of"):
        Classifier(3, loss="hinge")


def test_frozen_layers_do_not_move_in_training():
    model = Classifier(6, freeze=["features.0"])
    before = {name: value.clone() for name, value in model.network.named_parameters()}
    trainer(max_epochs=1, limit_val_batches=0).fit(model, shapes())
    moved = {name for name, value in model.network.named_parameters() if not torch.equal(value, before[name])}
    assert "features.0.weight" not in moved
    assert "features.4.weight" in moved


def test_averaged_weights_come_from_lightnings_callback():
    averaging = EMAWeightAveraging(decay=0.5)
    trainer(max_epochs=1, callbacks=[averaging]).fit(Classifier(6), shapes())
