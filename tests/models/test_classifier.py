import json
import math
import warnings

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from PIL import Image
from torch.nn import functional as F

from hedgeseg.data import FolderDataModule, Shapes, ShapesDataModule
from hedgeseg.models import Classifier, GroupedLogits
from hedgeseg.models.architectures import rectified_head
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
    assert set(runner.validate(model, data, verbose=False)[0]) == {"val/loss", "val/map", "val/score"}
    assert set(runner.test(model, data, verbose=False)[0]) == {"test/loss", "test/map", "test/score"}
    logits = runner.predict(model, data)
    assert [tuple(part.shape) for part in logits] == [(4, 6), (2, 6)]


def test_two_runs_with_one_seed_are_equal():
    def run():
        seed_everything(3)
        model = Classifier(6)
        trainer(max_epochs=1, limit_val_batches=0).fit(model, shapes())
        return model.state_dict()

    first, second = run(), run()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_two_augmented_runs_with_two_workers_are_equal(tmp_path):
    scenes = Shapes(12, image_size=48)
    for index in range(12):
        folder = tmp_path / ("many" if len(scenes.labels(index)) > 1 else "one")
        folder.mkdir(exist_ok=True)
        Image.fromarray(scenes.image(index)).save(folder / f"{index}.png")

    def run(seed):
        seed_everything(seed, workers=True)
        model = Classifier(2, task="multiclass")
        data = FolderDataModule(str(tmp_path), train_fraction=0.7, image_size=32, batch_size=4, num_workers=2)
        trainer(max_epochs=2).fit(model, data)
        return model.state_dict()

    first, second, other = run(3), run(3), run(4)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["network.classifier.weight"], other["network.classifier.weight"])


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


def test_data_of_another_number_of_classes():
    with pytest.raises(ValueError, match="the data have 6 classes, the classifier has num_classes=5"):
        trainer(max_epochs=1).fit(Classifier(5), shapes())


def named(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for i in range(4):
            Image.new("RGB", (30, 20), (40 * i, 90, 10)).save(tmp_path / name / f"{i}.png")
    return FolderDataModule(str(tmp_path), image_size=32, batch_size=2, background=[])


def test_names_and_task_are_compared_and_both_are_shown(tmp_path):
    data = named(tmp_path, "cat", "dog")
    with pytest.raises(
        ValueError, match=r"have 2 classes, .*num_classes=3: \['cat', 'dog'\] in the data, \['a', 'b', 'c'\]"
    ):
        trainer(max_epochs=1).fit(Classifier(classes=["a", "b", "c"], task="multiclass"), data)
    with pytest.raises(ValueError, match=r"\['cat', 'dog'\], .* \['dog', 'cat'\]"):
        trainer(max_epochs=1).fit(Classifier(classes=["dog", "cat"], task="multiclass"), data)
    with pytest.raises(ValueError, match="the data are multiclass, the classifier's task is 'multilabel'"):
        trainer(max_epochs=1).fit(Classifier(2), data)
    with pytest.raises(ValueError, match="how many classes"):
        Classifier()


def test_a_checkpoint_keeps_its_names_and_is_refused_by_data_of_others(tmp_path):
    path = str(tmp_path / "pets.ckpt")
    runner = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    runner.fit(Classifier(2, task="multiclass"), named(tmp_path / "pets", "cat", "dog"))
    runner.save_checkpoint(path)
    again = Classifier.load_from_checkpoint(path, weights_only=True)
    assert again.classes == ("cat", "dog")
    others = named(tmp_path / "vehicles", "bus", "car")
    both = r"\['cat', 'dog'\].*\['bus', 'car'\]|\['bus', 'car'\].*\['cat', 'dog'\]"
    with pytest.raises(ValueError, match=both):
        trainer().predict(again, others)
    with pytest.raises(ValueError, match=both):
        trainer().predict(Classifier(2, task="multiclass", weights=path), others)
    with pytest.raises(ValueError, match=both):
        trainer().predict(Classifier(2, task="multiclass"), others, ckpt_path=path)
    trainer().predict(Classifier(2, task="multiclass", weights=path), named(tmp_path / "pets"))


def test_learning_other_classes_from_a_checkpoint_starts_with_a_new_head(tmp_path):
    path = str(tmp_path / "pets.ckpt")
    runner = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    runner.fit(Classifier(2, task="multiclass"), named(tmp_path / "pets", "cat", "dog"))
    runner.save_checkpoint(path)
    model = Classifier(2, task="multiclass", weights=path, lr=0)
    before = model.network.classifier.weight.detach().clone()
    with pytest.warns(
        UserWarning, match=r"\['cat', 'dog'\], the data of \['bus', 'car'\]: the last layer starts untrained"
    ):
        trainer(max_epochs=1, limit_val_batches=0).fit(model, named(tmp_path / "vehicles", "bus", "car"))
    assert not torch.equal(before, model.network.classifier.weight)


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


def test_frozen_batch_norms_keep_their_statistics_in_training():
    def moved(**more):
        model = Classifier(6, **more)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        trainer(max_epochs=1).fit(model, shapes())
        return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}

    learnt = moved(freeze_batch_norm=True)
    assert not any("running" in name for name in learnt)
    assert {"network.features.0.weight", "network.features.1.weight"} <= learnt  # scales learn like all else
    assert "network.features.1.running_mean" in moved()
    assert "network.features.1.running_mean" not in moved(freeze=["features.1"])


def test_folded_statistics_are_noticed(tmp_path):
    state = Classifier(6).network.state_dict()  # untrained: means 0, variances 1
    torch.save(state, tmp_path / "folded.pth")
    runner = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    with pytest.warns(UserWarning, match="folded into the convolutions.*freeze_batch_norm=True"):
        runner.fit(Classifier(6, weights=str(tmp_path / "folded.pth")), shapes())


@pytest.mark.parametrize(
    ("arch", "task", "told"),
    [
        ("squeezenet1_1", "multilabel", True),
        ("squeezenet1_1", "multiclass", False),
        ("small_cnn", "multilabel", False),
        ("alexnet", "multilabel", False),
        ("mobilenet_v2", "multilabel", False),
    ],
)
def test_logits_that_cannot_be_negative_are_told_before_a_multilabel_training(arch, task, told):
    model = Classifier(3, arch, task=task)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.on_fit_start()
    said = [str(w.message) for w in caught if "cannot be negative" in str(w.message)]
    assert bool(said) is told
    assert not told or "classifier.2 is a ReLU" in said[0]


def test_the_remedy_that_is_told(tmp_path):
    model = Classifier(3, "squeezenet1_1")
    model.network.classifier[2] = torch.nn.Identity()
    assert rectified_head(model.network) is None
    assert (model(torch.randn(2, 3, 64, 64)) < 0).any()


class Watch(Callback):
    """Keeps the learning rate of every step and the weights after it."""

    def __init__(self):
        self.rates, self.weights = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(pl_module.network.classifier.weight.detach().clone())


def test_learning_rate_rises_once_and_falls():
    watch = Watch()
    trainer(max_epochs=5, limit_val_batches=0, callbacks=[watch]).fit(Classifier(6, lr=0.01), shapes())
    peak = watch.rates.index(max(watch.rates))
    assert len(watch.rates) == 20
    assert math.isclose(max(watch.rates), 0.01, rel_tol=0.05)
    assert watch.rates[:peak] == sorted(watch.rates[:peak])
    assert watch.rates[peak:] == sorted(watch.rates[peak:], reverse=True)
    assert watch.rates[-1] < 1e-4


def test_the_head_may_learn_faster():
    rates = {}

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    rates.setdefault(parameter, []).append(group["lr"])

    model = Classifier(6, lr=0.001, head_lr_factor=20, freeze=["features.0"])
    trainer(max_epochs=2, limit_val_batches=0, callbacks=[Rates()]).fit(model, shapes())
    head, other = model.network.classifier.weight, model.network.features[4].weight
    assert max(rates[other]) == pytest.approx(0.001, rel=0.1)
    assert rates[head] == pytest.approx([20 * rate for rate in rates[other]])
    assert set(rates) == {parameter for parameter in model.parameters() if parameter.requires_grad}


def test_averaged_weights_come_from_lightnings_callback():
    watch, model = Watch(), Classifier(6, lr=0.01)
    trainer(max_epochs=2, limit_val_batches=0, callbacks=[watch, EMAWeightAveraging(decay=0.5)]).fit(model, shapes())
    expected = watch.weights[0]
    for weight in watch.weights[1:]:
        expected = 0.5 * expected + 0.5 * weight
    assert torch.allclose(model.network.classifier.weight, expected, atol=1e-5)
    assert not torch.allclose(model.network.classifier.weight, watch.weights[-1], atol=1e-5)


def test_checkpoints_are_chosen_by_map(tmp_path):
    keeper = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/map", mode="max")
    values = []

    class Values(Callback):
        def on_validation_end(self, trainer, pl_module):
            if not trainer.sanity_checking:
                values.append(float(trainer.callback_metrics["val/map"]))

    model = Classifier(6, lr=0.01)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", max_epochs=4, callbacks=[keeper, Values()], **quiet).fit(model, shapes())
    assert math.isclose(float(keeper.best_model_score), max(values), rel_tol=1e-6)
    assert f"epoch={values.index(max(values))}" in keeper.best_model_path
