"""An image's map does not depend on its batch in networks that keep several copies of it, or not in dimension 0."""

import pytest
import torch
from golden import relative_l2
from stacked_networks import PLANS, Stacked
from torch import nn

from hedgeseg import attribute, resolve_layer
from hedgeseg.attribution import conservation
from hedgeseg.attribution.errors import UnsupportedModelError

FROM_A_LAYER = (
    "hedge", "rsp", "grad_cam", "grad_cam_plus_plus", "relevance_cam", "excitation_backprop",
    "contrastive_excitation_backprop", "score_cam",
)  # fmt: skip
AT_THE_PIXELS = (
    "rap", "agf", "lrp_epsilon", "lrp_alpha_beta", "deep_taylor", "contrastive_lrp", "softmax_gradient_lrp",
    "guided_backprop", "full_grad", "gradient",
)  # fmt: skip


def network(plan):
    torch.manual_seed(0)
    return Stacked(plan).double().eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 14, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def assert_alone(net, images, method, **options):
    targets = [[0, 2], [1, 4], [3, 0]][: len(images)]
    together = attribute(net, images, targets, method=method, **options)
    assert together.maps.abs().sum() > 0
    for i, row in enumerate(targets):
        alone = attribute(net, images[i : i + 1], [row], method=method, **options)
        assert relative_l2(together.maps[i], alone.maps[0]) < 1e-10, method
    return together


@pytest.mark.parametrize("plan", PLANS)
def test_batch_against_alone(plan, images):
    net = network(plan)
    for method in AT_THE_PIXELS + FROM_A_LAYER:
        assert_alone(net, images, method)


@pytest.mark.parametrize("options", [{"variant": "official"}, {"residual": "influence", "gamma": 2.0}, {"chunk": 1}])
def test_options_of_hedging(images, options):
    for plan in ("averaged_features", "patches"):
        assert_alone(network(plan), images, "hedge", **options)


def test_a_sequence_at_the_end_is_one_layer_alone_as_in_a_batch(images):
    net = network("ends_sequence_first")
    assert resolve_layer(net, images) == resolve_layer(net, images[:1])


def test_stacking_behind_or_beside_each_other_is_the_same(images):
    behind, beside = network("averaged_features"), network("interleaved")
    for method in (*AT_THE_PIXELS, *FROM_A_LAYER):
        expected = attribute(behind, images, [0, 1], method=method).maps
        torch.testing.assert_close(attribute(beside, images, [0, 1], method=method).maps, expected)


class Any(nn.Module):
    """A convolution, a classifier and what a test does with them."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.do = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), forward

    def pooled(self, x):
        return self.conv(x).relu().mean((2, 3))

    def forward(self, x):
        return self.do(self, x)


def one_after_the_other(net, x):
    return torch.cat([net.fc(net.pooled(x[i : i + 1])) for i in range(len(x))])


def with_a_look(net, x):
    return net.fc(net.pooled(x)) * (1.0 if bool(x.isfinite().all()) else 0.0)


@pytest.mark.parametrize("forward", [one_after_the_other, with_a_look])
@pytest.mark.parametrize("method", ["hedge", "grad_cam", "lrp_epsilon"])
def test_what_the_tape_cant_tell_apart_is_explained_one_by_one(forward, method, images):
    net = Any(forward).double()
    plain = Any(lambda net, x: net.fc(net.pooled(x))).double()
    got, expected = (attribute(n, images, [[0, 1], [2, 3]], method=method) for n in (net, plain))
    torch.testing.assert_close(got.maps, expected.maps)
    torch.testing.assert_close(got.logits, expected.logits)
    if method == "lrp_epsilon":
        reports = [conservation(n, images, [0, 1], method=method) for n in (net, plain)]
        torch.testing.assert_close(reports[0][-1].left, reports[1][-1].left)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.fc(net.pooled(x - x.mean(0, keepdim=True))),
        lambda net, x: net.fc(net.pooled(x / x.abs().max())),
        lambda net, x: net.fc(nn.functional.batch_norm(net.pooled(x), None, None, training=True)),
        lambda net, x: net.fc(net.pooled(x).roll(1, 0)),
        lambda net, x: net.fc(net.pooled(x)[[1, 0]]),
    ],
)
@pytest.mark.parametrize("method", ["hedge", "grad_cam", "full_grad"])
def test_a_network_that_mixes_images_is_refused_by_name(forward, method, images):
    with pytest.raises(UnsupportedModelError, match=r"mixes the images of a batch.*aten\.\w+.*one per call"):
        attribute(Any(forward).double(), images, [0, 1], method=method)
