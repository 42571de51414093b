import pytest
import torch
from torch import nn

from hedgeseg.models import Classifier
from hedgeseg.models.freezing import frozen_modules


def test_named_modules_are_frozen():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    assert frozen_modules(network, ["0", "1"]) == [network[0], network[1]]
    assert [name for name, parameter in network.named_parameters() if parameter.requires_grad] == ["2.weight", "2.bias"]


def test_unknown_module_lists_the_nearest():
    with pytest.raises(ValueError, match=r"cannot freeze 'features.99'.*'features.9'"):
        Classifier(3, freeze=["features.99"])


def test_frozen_batch_norm_keeps_its_statistics():
    model = Classifier(3, freeze=["features.0", "features.1"]).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(torch.randn(4, 3, 32, 32))
    changed = [not torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True)]
    assert changed == [False, True, True, True, True]
    assert model.training
