"""The propagation methods against zennit, captum and pytorch-grad-cam, where these are right."""

from copy import deepcopy

import pytest
import torch
import torchvision
from golden import relative_l2
from torch import nn

from hedgeseg import attribute

zennit_rules = pytest.importorskip("zennit.rules")
captum_attr = pytest.importorskip("captum.attr")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")

from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from zennit.attribution import Gradient  # noqa: E402
from zennit.composites import ExcitationBackprop, LayerMapComposite  # noqa: E402
from zennit.core import Stabilizer  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.torchvision import ResNetBasicBlockCanonizer, ResNetCanonizer  # noqa: E402

TARGETS = [2, 0]


@pytest.fixture(scope="module")
def net():
    """A small VGG with batch norm left out, in float64."""
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 10, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(40, 16),
            nn.ReLU(),
            nn.Linear(16, 4),
        )
        .double()
        .eval()
    )


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 12, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def ours(net, images, method, **options):
    return attribute(net, images, TARGETS, method=method, **options).maps[:, 0]


def by_zennit(net, images, composite, start):
    with Gradient(model=net, composite=composite) as attributor:
        return attributor(images, start)[1].sum(1)


def logit_start(net, images):
    y = net(images).detach()
    return y * nn.functional.one_hot(torch.tensor(TARGETS), y.shape[1])


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_alpha_beta_is_zennits(net, images, alpha):
    rules = [
        (nn.ReLU, zennit_rules.Pass()),
        (nn.AdaptiveAvgPool2d, zennit_rules.Norm(stabilizer=1e-12)),
        ((nn.Conv2d, nn.Linear), zennit_rules.AlphaBeta(alpha=alpha, beta=alpha - 1, stabilizer=1e-6)),
    ]
    expected = by_zennit(net, images, LayerMapComposite(rules), logit_start(net, images))
    torch.testing.assert_close(ours(net, images, "lrp_alpha_beta", alpha=alpha), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("epsilon", [1e-6, 0.25])
def test_epsilon_is_zennits(net, images, epsilon):
    rules = [
        (nn.ReLU, zennit_rules.Pass()),
        (nn.AdaptiveAvgPool2d, zennit_rules.Norm(stabilizer=1e-12)),
        ((nn.Conv2d, nn.Linear), zennit_rules.Epsilon(epsilon=Stabilizer(epsilon, norm_scale=True))),
    ]
    expected = by_zennit(net, images, LayerMapComposite(rules), logit_start(net, images))
    torch.testing.assert_close(ours(net, images, "lrp_epsilon", epsilon=epsilon), expected, rtol=1e-5, atol=1e-9)


class Flattening(nn.Module):
    """The same network with a functional flattening: captum has no rule for the module."""

    def __init__(self, net):
        super().__init__()
        self.body, self.head = deepcopy(net[:6]), deepcopy(net[7:])

    def forward(self, x):
        return self.head(torch.flatten(self.body(x), 1))


def test_epsilon_is_relative_to_the_scale_of_the_network(net, images):
    small = deepcopy(net)
    with torch.no_grad():
        for i, module in enumerate(m for m in small.modules() if isinstance(m, (nn.Conv2d, nn.Linear))):
            module.weight.mul_(0.02)
            module.bias.mul_(0.02 ** (i + 1))
    large = ours(net, images, "lrp_epsilon", epsilon=1e-3)
    ratio = ours(small, images, "lrp_epsilon", epsilon=1e-3) / large
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio), rtol=0.05, atol=0)


def test_epsilon_in_a_network_of_vanishing_activations():
    torch.manual_seed(0)
    network = torchvision.models.efficientnet_b0(num_classes=4).eval()
    maps = ours(network, torch.randn(2, 3, 64, 64), "lrp_epsilon")
    assert maps.isfinite().all()
    assert (maps.abs().amax((1, 2)) > 0).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # captum says what it does to the input
def test_epsilon_is_captums(net, images):
    expected = captum_attr.LRP(Flattening(net)).attribute(images, target=torch.tensor(TARGETS)).sum(1).detach()
    torch.testing.assert_close(ours(net, images, "lrp_epsilon", epsilon=1e-9), expected, rtol=1e-5, atol=1e-8)


def test_residual_networks_are_divided_as_by_zennit():
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=4).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    rules = [
        (nn.ReLU, zennit_rules.Pass()),
        (nn.BatchNorm2d, zennit_rules.Pass()),
        ((nn.AdaptiveAvgPool2d, Sum), zennit_rules.Norm(stabilizer=1e-12)),
        ((nn.Conv2d, nn.Linear), zennit_rules.AlphaBeta(alpha=2, beta=1, stabilizer=1e-6)),
    ]
    start = logit_start(resnet, images)
    got = ours(resnet, images, "lrp_alpha_beta")
    expected = by_zennit(resnet, images, LayerMapComposite(rules, canonizers=[ResNetBasicBlockCanonizer()]), start)
    assert relative_l2(got, expected) <= 1e-5


def test_epsilon_takes_batch_norms_as_zennit_merges_them():
    torch.manual_seed(0)
    resnet = torchvision.models.resnet18(num_classes=4).double().eval()
    for module in resnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
            module.eps = 1e-12  # zennit leaves a batch norm of (0, 1) with its eps behind
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    rules = [
        (nn.ReLU, zennit_rules.Pass()),
        ((nn.AdaptiveAvgPool2d, Sum), zennit_rules.Norm(stabilizer=1e-12)),
        ((nn.Conv2d, nn.Linear), zennit_rules.Epsilon(epsilon=1e-12)),
    ]
    start = logit_start(resnet, images)
    got = ours(resnet, images, "lrp_epsilon", epsilon=1e-12)
    expected = by_zennit(resnet, images, LayerMapComposite(rules, canonizers=[ResNetCanonizer()]), start)
    assert relative_l2(got, expected) <= 1e-6


def test_excitation_is_zennits(net, images):
    start = nn.functional.one_hot(torch.tensor(TARGETS), 4).double()
    layer, head = net[:5], net[5:]
    with torch.no_grad():
        activation = layer(images)
    expected = by_zennit(head, activation, ExcitationBackprop(stabilizer=1e-12, zero_params="bias"), start)
    resized = nn.functional.interpolate(expected[:, None], size=(12, 14), mode="bilinear", align_corners=False)[:, 0]
    got = ours(net, images, "excitation_backprop", layer="4")
    torch.testing.assert_close(got, resized, rtol=1e-4, atol=1e-8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # captum says what it does to the model and the input
def test_gradient_and_guided_backprop_are_captums(net, images):
    target = torch.tensor(TARGETS)
    gradient = captum_attr.Saliency(net).attribute(images, target=target, abs=False)
    torch.testing.assert_close(ours(net, images, "gradient"), gradient.sum(1))
    guided = captum_attr.GuidedBackprop(net).attribute(images, target=target)
    torch.testing.assert_close(ours(net, images, "guided_backprop"), guided.sum(1).detach())
    torch.testing.assert_close(ours(net, images, "guided_backprop", channels="max_abs"), guided.abs().amax(1).detach())


def unit_range(maps):
    flat = maps.flatten(1) - maps.flatten(1).amin(1, keepdim=True)
    return (flat / flat.amax(1, keepdim=True)).view(maps.shape).float()


def test_grad_cam_plus_plus_is_pytorch_grad_cams(net, images):
    scaled = nn.Sequential(*net[:-1], nn.Linear(16, 4)).double().eval()
    scaled[-1].load_state_dict({k: 100 * v for k, v in net[-1].state_dict().items()})  # its 1e-6 is out of the way
    for i, target in enumerate(TARGETS):
        with pytorch_grad_cam.GradCAMPlusPlus(model=scaled.float(), target_layers=[scaled[4]]) as cam:
            expected = torch.from_numpy(cam(images[i : i + 1].float(), [ClassifierOutputTarget(target)]))
        got = attribute(scaled.double(), images[i : i + 1], [target], method="grad_cam_plus_plus", layer="4").maps[0]
        torch.testing.assert_close(unit_range(got), unit_range(expected), rtol=0, atol=2e-3)


def test_full_grad_is_pytorch_grad_cams(images):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, padding=1, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2.0)
    for i, target in enumerate(TARGETS):
        image = images[i : i + 1].float()
        with pytorch_grad_cam.FullGrad(model=net, target_layers=[]) as cam:
            expected = torch.from_numpy(cam(image, [ClassifierOutputTarget(target)]))
        got = attribute(net, image, [target], method="full_grad").maps[0]
        torch.testing.assert_close(unit_range(got), unit_range(expected), rtol=0, atol=1e-4)
