"""The same features at a finer stride."""

import math

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from hedgeseg.models import Classifier
from hedgeseg.models.output_stride import with_output_stride


def last_map(network, images):
    """What the last convolution over more than one place gives."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return [found for found in seen if found.shape[-1] > 1][-1]


def disturbed(network):
    """Every batch norm gets statistics of its own, so that borders would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


@pytest.mark.parametrize(
    ("arch", "side"),
    [("resnet18", 97), ("resnet18", 128), ("mobilenet_v2", 97), ("mobilenet_v2", 128), ("squeezenet1_1", 96)],
)
def test_old_places_keep_their_features(arch, side):
    torch.manual_seed(0)
    network = disturbed(get_model(arch, num_classes=3))
    images, old = torch.randn(1, 3, side, side), {n: p.clone() for n, p in network.state_dict().items()}
    coarse = last_map(network, images)
    for output_stride in (16, 8):
        fine = last_map(with_output_stride(network, output_stride), images)
        step = 2 ** round(math.log2(fine.shape[-1] / coarse.shape[-1]))
        if arch != "squeezenet1_1" or output_stride == 8:  # SqueezeNet has a stride of 16
            assert step > 1
        sampled = fine[..., ::step, ::step]
        shape = tuple(min(a, b) for a, b in zip(sampled.shape[-2:], coarse.shape[-2:], strict=True))
        difference = sampled[..., : shape[0], : shape[1]] - coarse[..., : shape[0], : shape[1]]
        assert difference.abs().max() < 1e-4 * coarse.abs().max()
    assert torch.equal(last_map(network, images), coarse)
    assert all(torch.equal(old[name], value) for name, value in network.state_dict().items())


def test_networks_of_timm_keep_theirs_at_the_places_that_their_padding_shifts():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = disturbed(timm.create_model("tf_efficientnet_lite0", num_classes=3))
    images = torch.randn(1, 3, 128, 128)
    coarse, fine = last_map(network, images), last_map(with_output_stride(network, 16), images)
    assert fine.shape[-1] == 2 * coarse.shape[-1]
    errors = [(fine[..., i::2, i::2] - coarse).abs().max() for i in (0, 1)]
    assert min(errors) < 1e-4 * coarse.abs().max()


def test_what_cannot_be_dilated_is_refused():
    with pytest.raises(ValueError, match="AvgPool2d, stride 2"):
        with_output_stride(get_model("densenet121"), 8)
    with pytest.raises(ValueError, match="output_stride is 4, 8 or 16"):
        with_output_stride(get_model("resnet18"), 12)
    with pytest.raises(ValueError, match="takes no images of 257 pixels"):
        with_output_stride(get_model("vit_b_16"), 8)


def test_as_an_option_of_the_classifier():
    torch.manual_seed(0)
    plain = Classifier(3, "resnet18").eval()
    finer = Classifier(3, "resnet18", output_stride=16).eval()
    finer.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 96, 96)
    assert last_map(finer, images).shape[-1] == 2 * last_map(plain, images).shape[-1]
    assert finer.hparams["output_stride"] == 16
