"""What every propagation method promises, and what some promise beyond that: conservation, sums, signs."""

import pytest
import torch
import torchvision
from torch import nn

from hedgeseg import METHODS, attribute
from hedgeseg.attribution.errors import TargetError
from hedgeseg.attribution.explaining import explaining
from hedgeseg.attribution.methods import full_grad
from hedgeseg.attribution.methods.excitation_backprop import default_layer
from hedgeseg.attribution.methods.from_logits import record_logits
from hedgeseg.attribution.methods.method import Problem

FROM_A_LAYER = (
    "grad_cam_plus_plus",
    "excitation_backprop",
    "contrastive_excitation_backprop",
    "relevance_cam",
    "rsp",
)
AT_THE_PIXELS = (
    "guided_backprop",
    "lrp_alpha_beta",
    "lrp_epsilon",
    "deep_taylor",
    "contrastive_lrp",
    "softmax_gradient_lrp",
    "rap",
    "agf",
    "full_grad",
    "gradient",
)
PROPAGATION = FROM_A_LAYER + AT_THE_PIXELS


class Chain(nn.Sequential):
    """A chain of convolutions and fully connected layers, with or without biases."""

    def __init__(self, bias=True):
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 4 * 5, 12, bias=bias),
            nn.ReLU(),
            nn.Linear(12, 5, bias=bias),
        )


class Residual(nn.Module):
    """A residual sum, a concatenation, batch norm, writes in place and functional calls."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 1))
        self.left, self.right = nn.Conv2d(6, 4, 3, stride=2, padding=1), nn.Conv2d(6, 4, 1, stride=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 2)
        x = torch.relu_(self.branch(x) + x)
        x = torch.relu(torch.cat([self.left(x), self.right(x)], 1))
        return self.fc(x.mean((2, 3)))


def seeded(kind, *args, **options):
    torch.manual_seed(0)
    net = kind(*args, **options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return net.eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def maps_of(net, images, targets, method, **options):
    return attribute(net.to(images.dtype), images, targets, method=method, **options).maps


def sums(maps):
    return maps.flatten(2).sum(-1)


@pytest.mark.parametrize("method", PROPAGATION)
@pytest.mark.parametrize("kind", [Chain, Residual])
def test_images_targets_and_chunks_do_not_touch_each_other(images, kind, method):
    net, targets = seeded(kind), [[0, 3], [1, 1], [4, 2]]
    together = maps_of(net, images, targets, method)
    assert together.shape == (3, 2, 8, 10)
    assert together.dtype == torch.float64
    assert torch.isfinite(together).all()
    assert together.any()
    for i, row in enumerate(targets):
        for j, target in enumerate(row):
            alone = maps_of(net, images[i : i + 1], [target], method)
            torch.testing.assert_close(together[i, j], alone[0, 0])
    torch.testing.assert_close(maps_of(net, images, targets, method, chunk=1), together)
    torch.testing.assert_close(maps_of(net, images, targets, method, chunk=4), together)
    torch.testing.assert_close(together[1, 0], together[1, 1])  # the same target twice


@pytest.mark.parametrize("method", PROPAGATION)
def test_every_method_runs_on_resnet18(method):
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10)  # in training mode, as in the middle of training
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    r = attribute(net, images, [[1, 2], [3]], method=method)
    assert r.maps.shape == (2, 2, 64, 64)
    assert r.maps.dtype == torch.float32
    assert torch.isfinite(r.maps[0]).all()
    assert r.maps[1, 1].isnan().all()
    assert (r.layer != "") == (method in FROM_A_LAYER)
    if not METHODS[method].signed:
        one_sign = (r.maps[0] >= 0).flatten(1).all(1) | (r.maps[0] <= 0).flatten(1).all(1)
        assert one_sign.all() or method == "deep_taylor"  # its pixel rule may leave the sign by rounding


@pytest.mark.parametrize("arch", ["densenet121", "inception_v3"])
def test_networks_of_concatenations(arch):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if arch == "inception_v3" else {}
    net = torchvision.models.get_model(arch, weights=None, num_classes=10, **options).eval()
    side = 75 if arch == "inception_v3" else 32
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    for method in PROPAGATION:
        maps = attribute(net, images, [3], method=method).maps
        assert maps.shape == (1, 1, side, side), method
        assert torch.isfinite(maps).all(), method


@pytest.mark.parametrize("method", AT_THE_PIXELS)
def test_methods_of_the_pixels_refuse_a_layer(images, method):
    with pytest.raises(ValueError, match="reads no layer"):
        maps_of(seeded(Chain), images, [0, 1, 2], method, layer="1")


@pytest.mark.parametrize("method", PROPAGATION)
def test_a_target_that_is_no_class_is_named(images, method):
    with pytest.raises(TargetError, match="target 5 of image 1"):
        maps_of(seeded(Chain), images, [0, 5, 1], method)


@pytest.mark.parametrize("method", PROPAGATION)
def test_no_targets_give_no_maps(images, method):
    assert maps_of(seeded(Residual), images, [[], [], []], method).shape == (3, 0, 8, 10)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lrp_alpha_beta", {"alpha": 0.5}, "alpha=0.5: must be at least 1"),
        ("lrp_alpha_beta", {"variant": "x"}, "variant='x'"),
        ("lrp_epsilon", {"epsilon": 0}, "epsilon=0: must be positive"),
        ("rap", {"variant": "x"}, "variant='x'"),
        ("gradient", {"channels": "mean"}, "channels='mean'"),
        ("guided_backprop", {"channels": "mean"}, "channels='mean'"),
        ("hedge", {"ablate": ("B",)}, "C, A, U, Psi"),
    ],
)
def test_wrong_options_are_named(images, method, options, message):
    with pytest.raises(ValueError, match=message):
        maps_of(seeded(Chain), images, [0, 1, 2], method, **options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lrp_alpha_beta", {"alpha": 1.0, "variant": "separate"}),
        ("lrp_alpha_beta", {"alpha": 2.0, "variant": "separate"}),
        ("deep_taylor", {}),
        ("rap", {}),
    ],
)
def test_the_map_sums_to_the_logit(images, method, options):
    net, targets = seeded(Chain), torch.tensor([[0, 3], [1, 2], [4, 2]])
    r = attribute(net.double(), images, targets, method=method, **options)
    torch.testing.assert_close(sums(r.maps), r.logits.gather(1, targets), rtol=1e-5, atol=1e-8)


def test_deep_taylor_conserves_across_residual_sums(images):
    net, targets = seeded(Residual), torch.tensor([[0, 3], [1, 2], [4, 2]])
    for conv in (*net.branch[::2], net.left, net.right):  # an active unit without bias has a positive contribution
        nn.init.zeros_(conv.bias)
    r = attribute(net.double(), images, targets, method="deep_taylor")
    torch.testing.assert_close(sums(r.maps), r.logits.gather(1, targets))


def test_epsilon_is_gradient_times_input_without_biases(images):
    net = seeded(Chain, bias=False)
    lrp = maps_of(net, images, [0, 1, 2], "lrp_epsilon", epsilon=1e-12)
    torch.testing.assert_close(lrp, maps_of(net, images, [0, 1, 2], "gradient", multiply_by_inputs=True))


@pytest.mark.parametrize("method", ["contrastive_lrp", "softmax_gradient_lrp"])
def test_contrastive_maps_sum_to_zero(images, method):
    maps = maps_of(seeded(Residual), images, [[0, 3], [1, 2], [4, 2]], method)
    assert (sums(maps).abs() < 1e-9 * maps.abs().flatten(2).sum(-1)).all()


def test_softmax_gradient_lrp_survives_a_saturated_softmax(images):
    net = seeded(Chain)
    net[8].weight.data *= 1e4
    maps = maps_of(net, images.float(), [[0, 1, 2, 3, 4]] * 3, "softmax_gradient_lrp")
    assert torch.isfinite(maps).all()
    assert maps.flatten(2).any(-1).all()


def test_excitation_is_a_probability_and_its_contrast_is_balanced(images):
    net = seeded(Chain)
    targets = [[0, 3], [1, 2], [4, 2]]
    p = maps_of(net, images, targets, "excitation_backprop", layer="4")
    area = 80 / 20  # of the image over that of the layer; resizing keeps the mean
    torch.testing.assert_close(sums(p) / area, torch.ones(3, 2, dtype=torch.float64), rtol=0.2, atol=0)
    assert (p >= 0).all()
    signed = maps_of(net, images, targets, "contrastive_excitation_backprop", layer="4", relu=False)
    assert (signed < 0).any()
    published = maps_of(net, images, targets, "contrastive_excitation_backprop", layer="4")
    assert (published >= 0).all()


def test_rsp_keeps_the_sum_of_its_start(images):
    net, targets = seeded(Chain), [[0, 3], [1, 2], [4, 2]]
    single = sums(maps_of(net, images, targets, "rsp", layer="4"))
    hostile = sums(maps_of(net, images, targets, "rsp", layer="4", multi_label=True))
    torch.testing.assert_close(hostile, torch.ones(3, 2, dtype=torch.float64))
    assert not torch.allclose(single, hostile)


def test_agf_peaks_at_one_and_sums_to_almost_nothing(images):
    maps = maps_of(seeded(Chain), images, [[0, 3], [1, 2], [4, 2]], "agf")
    assert (sums(maps).abs() < 0.05 * maps.abs().flatten(2).sum(-1)).all()


@pytest.mark.parametrize("kind", [Chain, Residual])
def test_full_grad_is_complete(images, kind):
    net, targets, terms = seeded(kind).double(), torch.tensor([[0, 3], [1, 2], [4, 2]]), []

    def add(term, value):
        assert term.shape[1:] == value.shape
        terms.append(term)

    with explaining(net):
        problem = Problem(net, images, targets)
        recording = record_logits(problem, full_grad.rule_book(add))
        of_image = full_grad.gradient_terms(problem, recording, slice(0, 2), add)
    total = sum((term.flatten(2).sum(-1) for term in terms), of_image.flatten(2).sum(-1))
    torch.testing.assert_close(total.T, recording.logits.gather(1, targets))


def test_gradients_with_the_largest_channel(images):
    net = seeded(Chain)
    for method in ("gradient", "guided_backprop"):
        assert (maps_of(net, images, [0, 1, 2], method, channels="max_abs") >= 0).all()


def test_an_unknown_image_gives_finite_maps():
    """All black: no layer but the biases says anything."""
    net, black = seeded(Residual), torch.zeros(1, 3, 8, 10, dtype=torch.float64)
    for method in PROPAGATION:
        assert torch.isfinite(maps_of(net, black, [1], method)).all(), method


@pytest.mark.parametrize(
    ("arch", "layer"), [("vgg16", "features.23"), ("vgg16_bn", "features.33"), ("resnet50", "layer3")]
)
def test_excitation_reads_the_layer_of_the_published_benchmark(arch, layer):
    with torch.device("meta"):
        assert default_layer(torchvision.models.get_model(arch, weights=None)) == layer


def test_ablated_hedging_adds_up(images):
    net, targets = seeded(Chain), [0, 1, 2]
    whole = maps_of(net, images, targets, "hedge", gamma=2.0, layer="4")
    same = maps_of(net, images, targets, "hedge", gamma=2.0, layer="4", ablate=())
    without = maps_of(net, images, targets, "hedge", gamma=2.0, layer="4", ablate=("A", "U"))
    torch.testing.assert_close(whole, same)
    assert not torch.allclose(whole, without)
