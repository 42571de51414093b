import pytest
import torch
import torchvision
from strided_network import Strided
from torch import nn
from torchvision.models import get_model

from hedgeseg.models.output_stride import with_output_stride
from hedgeseg.seeds import SeedGenerator
from hedgeseg.seeds.spread import affinity, stride_maps


def halves():
    image = torch.zeros(3, 64, 64)
    image[0, :, :32], image[1, :, 32:] = 1, 1
    return image


def corner(model, images, targets):
    """A map that has found a corner of the left half."""
    maps = torch.zeros(len(images), len(targets[0]), 64, 64)
    maps[:, :, :16, :16] = 1
    return maps


def test_scores_go_as_far_as_the_likeness_and_no_further():
    seed = SeedGenerator(method=corner, spread=True, smoothing=0)(Strided(), halves(), [1])
    assert (seed.mask[:, :28] == 2).all()
    assert (seed.mask[:, 36:] == 0).all()
    alone = SeedGenerator(method=corner, smoothing=0)(Strided(), halves(), [1])
    assert (alone.mask == 2).sum() == 16 * 16


def test_likeness_is_an_average():
    torch.manual_seed(0)
    alike = affinity(Strided(), torch.randn(3, 64, 96))
    assert alike.size == (8, 12)
    assert alike.weights.min() >= 0
    torch.testing.assert_close(alike.weights.sum(1), torch.ones(96))
    assert alike.spread(torch.rand(2, 8, 12)).amax((1, 2)).tolist() == [1, 1]
    assert affinity(Strided(), torch.randn(3, 2000, 100)).size[0] <= 61


@pytest.mark.parametrize(
    ("arch", "side", "names"),
    [
        ("mobilenet_v2", 97, ("features.6", "features.13")),
        ("resnet18", 96, ("layer2", "layer3")),
        ("squeezenet1_0", 99, ("features.10", "features.12")),
        ("densenet121", 96, ("features.denseblock2", "features.denseblock3")),
    ],
)
def test_the_maps_are_the_outputs_of_stages(arch, side, names):
    model = torchvision.models.get_model(arch, weights=None).eval()
    images = torch.randn(1, 3, side, side)
    outputs = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: outputs.update({name: o}))
    with torch.no_grad():
        maps = stride_maps(model, images)
    assert [m.shape for m in maps] == [outputs[name].shape for name in names]
    for found, name in zip(maps, names, strict=True):
        torch.testing.assert_close(found, outputs[name])


def test_the_model_is_left_as_it_was():
    model = torchvision.models.mobilenet_v2(weights=None)
    model.features[3].eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    affinity(model, torch.randn(3, 97, 97))
    assert modes == [module.training for module in model.modules()]
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_without_such_maps_is_named():
    with pytest.raises(ValueError, match=r"Sequential has no map at a stride of 8 or 16.*spread=False"):
        affinity(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), torch.randn(3, 64, 64))


@pytest.mark.parametrize(("arch", "channels"), [("resnet18", 256), ("mobilenet_v2", 160)])
def test_a_dilated_network_is_compared_before_its_dilated_kernels(arch, channels):
    torch.manual_seed(0)
    plain = get_model(arch).eval()
    image = torch.randn(1, 3, 129, 129)
    own, finer = (stride_maps(network, image) for network in (plain, with_output_stride(plain, 16)))
    assert [m.shape[2:] for m in own] == [m.shape[2:] for m in finer]
    torch.testing.assert_close(finer[0], own[0])
    assert finer[1].shape[1] == channels  # the last of all maps would have 512 or 1280
    if arch == "resnet18":
        torch.testing.assert_close(finer[1], own[1])


def test_a_network_that_dilates_from_the_start_still_has_maps():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=2, dilation=2), nn.Conv2d(4, 6, 1), nn.ReLU()).eval()
    (found,) = stride_maps(network, torch.randn(1, 3, 64, 64))
    assert found.shape == (1, 6, 8, 8)
