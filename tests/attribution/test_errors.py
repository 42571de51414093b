"""Bad input gets an error that names the thing, the value and the remedy."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute, resolve_layer
from hedgeseg.attribution.errors import LayerError, OutputError, TargetError, UnsupportedModelError, UnsupportedOpError


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 8)


def test_image_rank(net, images):
    with pytest.raises(ValueError, match=r"\(3, 8, 8\).*images\[None\]"):
        attribute(net, images[0], [1])


def test_image_dtype(net, images):
    with pytest.raises(ValueError, match="uint8"):
        attribute(net, images.to(torch.uint8), [1, 2])


def test_nan_pixels(net, images):
    images[1, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match=r"NaN.*\[1\]"):
        attribute(net, images, [1, 2])


@pytest.mark.parametrize("target", [6, -1])
def test_target_out_of_range(net, images, target):
    with pytest.raises(TargetError, match=rf"target {target} of image 1.*0 to 5"):
        attribute(net, images, [1, target])


def test_number_of_targets(net, images):
    with pytest.raises(TargetError, match="3 entries for 2 images"):
        attribute(net, images, [1, 2, 3])


def test_targets_that_are_no_integers(net, images):
    with pytest.raises(TypeError, match="multi-hot"):
        attribute(net, images, torch.ones(2, 6))


def test_unknown_layer_lists_the_nearest(images):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 4, 3)
            self.classifier = nn.Linear(4, 6)

        def forward(self, x):
            return self.classifier(self.features(x).mean((2, 3)))

    with pytest.raises(LayerError, match=r"'feature'.*Nearest names: features"):
        attribute(Net(), images, [1, 2], layer="feature")


def test_a_layer_of_another_model(net, images):
    with pytest.raises(LayerError, match="no part of this model"):
        attribute(net, images, [1, 2], layer=nn.ReLU())


def test_a_layer_without_positions(net, images):
    with pytest.raises(LayerError, match="no positions"):
        attribute(net, images, [1, 2], layer="4")


def test_unknown_method_lists_them(net, images):
    with pytest.raises(ValueError, match=r"'hegde' is unknown. Did you mean 'hedge'.*grad_cam"):
        attribute(net, images, [1, 2], method="hegde")


def test_unknown_option(net, images):
    with pytest.raises(ValueError, match=r"no option 'gama'; it takes gamma=1.0"):
        attribute(net, images, [1, 2], gama=2)


@pytest.mark.parametrize("options", [{"gamma": 3.0}, {"variant": "best"}, {"residual": "all"}, {"precision": "int8"}])
def test_option_values(net, images, options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        attribute(net, images, [1, 2], **options)


def test_chunk(net, images):
    with pytest.raises(ValueError, match="chunk=0"):
        attribute(net, images, [1, 2], chunk=0)


def test_an_op_without_a_rule_names_op_and_module(images):
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Fourier(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten())  # fmt: skip
    with pytest.raises(UnsupportedOpError, match=r"'hedge' has no rule for aten\.\w+ \(in module '1'"):
        attribute(model, images, [1, 2])


def test_a_product_of_two_maps_is_refused_with_advice(images):
    class Correlation(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)

        def forward(self, x):
            y = self.conv(x).flatten(2)
            y = torch.tanh(y.mT @ y) @ y.mT
            return self.fc(y.mT.unflatten(2, (6, 6)).relu().mean((2, 3)))

    with pytest.raises(UnsupportedOpError, match="grad_cam"):
        attribute(Correlation(), images, [1, 2])
    assert attribute(Correlation(), images, [1, 2], method="grad_cam").maps.shape == (2, 1, 8, 8)


def test_a_model_without_feature_maps(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6))
    with pytest.raises(LayerError, match="feature map"):
        attribute(model, images, [1, 2])


def test_several_outputs_need_a_choice(net, images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            y = self.net(x)
            return {"main": y, "aux": 2 * y, "features": x}

    with pytest.raises(OutputError, match=r"output=<index or key>"):
        attribute(Two(), images, [1, 2])
    with pytest.raises(OutputError, match=r"'other'.*aux.*main"):
        attribute(Two(), images, [1, 2], output="other")
    chosen = attribute(Two(), images, [1, 2], output="main")
    torch.testing.assert_close(chosen.maps, attribute(net, images, [1, 2]).maps)


def test_logits_that_are_a_map(images):
    with pytest.raises(OutputError, match=r"\(2, 4, 6, 6\)"):
        attribute(nn.Conv2d(3, 4, 3), images, [1, 2])


def test_scripted_and_quantised_models(net, images):
    with pytest.raises(UnsupportedModelError, match="eager"):
        attribute(torch.jit.script(net), images, [1, 2])


def test_no_module(images):
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module"):
        resolve_layer(lambda x: x, images)
