import pytest
import torch
from callback_scenes import Classifier, loader, small_network
from lightning.pytorch import LightningModule
from torch import nn
from torchmetrics.classification import MultilabelAveragePrecision

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.network import find_network


class Itself(LightningModule):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class WithoutForward(LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = small_network()
        self.metric = MultilabelAveragePrecision(3)
        self.loss = nn.BCEWithLogitsLoss()


class WithLoss(WithoutForward):
    def forward(self, images, labels):
        return self.loss(self.backbone(images), labels)


def test_the_module_itself():
    for module in (Classifier(), Itself()):
        assert find_network(module) is module


@pytest.mark.parametrize("style", [WithoutForward, WithLoss])
def test_the_only_child_with_parameters(style):
    module = style()
    assert find_network(module) is module.backbone


def test_a_compiled_module_still_is_its_own_network():
    module = Classifier()
    module.compile(backend="eager")
    assert find_network(module) is module
    assert isinstance(module(torch.zeros(1, 3, 16, 16)), torch.Tensor)


def test_named():
    module = WithoutForward()
    module.teacher = small_network()
    assert find_network(module, "teacher") is module.teacher
    with pytest.raises(ValueError, match=r"no submodule 'students'; its children are \['backbone'"):
        find_network(module, "students")
    with pytest.raises(ValueError, match=r"of its children \['backbone', 'teacher'\].*network="):
        find_network(module)


class WholeBatch(Classifier):
    """A forward that takes the batch."""

    def forward(self, batch):
        return self.network(batch["image"])

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy_with_logits(self(batch), batch["label"])

    def validation_step(self, batch, batch_idx):
        self(batch)


class Unpacks(WholeBatch):
    def forward(self, batch):
        images, *_, _, _ = batch.values() if isinstance(batch, dict) else batch
        return self.network(images)


class Age(nn.Module):
    """Two inputs, inside."""

    def __init__(self):
        super().__init__()
        self.images, self.age = small_network(), nn.Linear(1, 3)

    def forward(self, image, age):
        return self.images(image) + self.age(age)


class TwoInputs(LightningModule):
    def __init__(self):
        super().__init__()
        self.cnn, self.mlp = small_network(), nn.Linear(1, 3)

    def forward(self, image, age):
        return self.cnn(image) + self.mlp(age)


class Wrapped(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Age()

    def forward(self, image, age):
        return self.model(image, age)


class Bare(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Age()


@pytest.mark.parametrize("style", [WholeBatch, Unpacks])
def test_a_forward_that_takes_a_batch_is_told_what_to_do(make_trainer, style):
    with pytest.warns(RuntimeWarning, match=r"(?s)images alone.*takes a whole batch.*network= \(.*\['network'\]"):
        make_trainer(callbacks=[HedgeCallback()]).validate(style(), loader(2, size=16), verbose=False)
    callback = HedgeCallback(network="network", on_error="raise")
    [result] = make_trainer(callbacks=[callback]).validate(WholeBatch(), loader(2, size=16), verbose=False)
    assert result["hedge/images"] == 2


@pytest.mark.parametrize("style", [TwoInputs, Wrapped, Bare])
def test_a_network_of_two_inputs_is_told_how_to_keep_the_other(style):
    with pytest.raises(ValueError, match=r"takes \['image', 'age'\].*supplies the other inputs itself"):
        find_network(style())
