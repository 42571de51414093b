"""`resolve_layer`: by family, by recording for the rest."""

import pytest
import torch
import torchvision
from torch import nn

from hedgeseg import attribute, resolve_layer
from hedgeseg.attribution.errors import LayerError

EXPECTED = {
    "vgg16": "features.29",
    "vgg19": "features.35",
    "vgg16_bn": "features.42",
    "alexnet": "features",
    "resnet18": "layer4",
    "resnext50_32x4d": "layer4",
    "wide_resnet50_2": "layer4",
    "densenet121": "features",
    "inception_v3": "Mixed_7c",
    "mobilenet_v2": "features",
    "mobilenet_v3_small": "features",
    "efficientnet_b0": "features",
    "convnext_tiny": "features",
    "squeezenet1_1": "classifier.2",
    "shufflenet_v2_x0_5": "conv5",
    "mnasnet0_5": "layers",
    "regnet_y_400mf": "trunk_output",
    "googlenet": "inception5b",
}


def build(arch):
    options = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(arch, weights=None, num_classes=3, **options)


@pytest.mark.parametrize("arch", EXPECTED)
def test_layer_of_torchvision_networks(arch):
    size = 96 if arch == "inception_v3" else 64
    assert resolve_layer(build(arch), torch.randn(1, 3, size, size)) == EXPECTED[arch]


def test_a_known_network_inside_another_module():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = build("resnet18")

        def forward(self, x):
            return self.backbone(x)

    assert resolve_layer(Wrapped(), torch.randn(1, 3, 64, 64)) == "backbone.layer4"


def test_a_choice_by_module_or_by_a_compiled_name():
    network, images = build("resnet18"), torch.randn(1, 3, 64, 64)
    assert resolve_layer(network, images, network.layer3[1]) == "layer3.1"
    assert resolve_layer(network, images, "_orig_mod.layer3") == "layer3"
    assert attribute(network, images, [0], layer=network.layer3).layer == "layer3"


def test_the_map_before_a_flattening_is_found_behind_the_last_maximum_pooling():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 2)
    )
    assert resolve_layer(net, torch.randn(1, 3, 12, 12)) == "2"


def test_an_unnamed_map_gets_a_name_that_works():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(torch.relu(self.conv(x)).mean((2, 3)))

    net, images = Functional(), torch.randn(2, 3, 9, 9)
    name = resolve_layer(net, images)
    assert name == "aten.relu:0"
    torch.testing.assert_close(attribute(net, images, [0, 1], layer=name).maps, attribute(net, images, [0, 1]).maps)


def test_a_layer_that_did_not_run():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.unused = nn.ModuleList([nn.Conv2d(3, 3, 1)])
    net.forward = lambda x: net[2](net[1](net[0](x)))
    with pytest.raises(LayerError, match="did not run"):
        resolve_layer(net, torch.randn(1, 3, 8, 8), "unused.0")


def test_a_gate_is_not_taken_for_the_last_pooling_where_the_maps_have_one_position():
    assert resolve_layer(build("efficientnet_b0"), torch.randn(1, 3, 32, 32)) == "features"
    assert resolve_layer(build("mobilenet_v3_small"), torch.randn(1, 3, 32, 32)) == "features"


def test_a_convolution_as_large_as_the_map_is_a_head():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 7), nn.ReLU(), nn.Conv2d(6, 2, 1), nn.Flatten())
    assert resolve_layer(net, torch.randn(1, 3, 9, 9)) == "1"
