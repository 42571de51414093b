import pytest
import torch
from callback_scenes import Classifier, small_network
from lightning.pytorch import LightningModule
from torch import nn
from torchmetrics.classification import MultilabelAveragePrecision

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
