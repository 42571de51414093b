"""A network with one logit is explained as one with two, minus the logit and the logit: targets 0 and 1."""

import warnings

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution import METHODS, conservation
from hedgeseg.attribution.errors import LayerError, OutputError, TargetError, UnsupportedOpError

FAST = {
    "score_cam": {}, "rise": {"masks": 8, "score": "logit"},
    "lime": {"n_samples": 8}, "occlusion": {"window": 4}, "integrated_gradients": {"n_steps": 4},
    "smooth_grad": {"nt_samples": 2}, "gradient_shap": {"n_samples": 2},
}  # fmt: skip

LAYERED = {
    "excitation_backprop", "contrastive_excitation_backprop", "relevance_cam", "grad_cam_plus_plus", "score_cam", "rsp",
}  # fmt: skip


class Net(nn.Module):
    """Features, pooling and a head of some form; `sides` weights per class for its two-logit twin."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
        )
        self.head = head

    def forward(self, x):
        return self.head(self.features(x))


class Pooled(nn.Module):
    """A fully connected head; `after` is done to the logits."""

    def __init__(self, classes: int, after=None, bias: bool = True):
        super().__init__()
        self.hidden, self.last = nn.Linear(6, 5), nn.Linear(5, classes, bias=bias)
        self.after = after

    def forward(self, x):
        y = self.last(self.hidden(x.mean((2, 3))).relu())
        return y if self.after is None else self.after(y)


class Slid(nn.Module):
    """A convolutional head whose map of logits is averaged."""

    def __init__(self, classes: int, after=None):
        super().__init__()
        self.last = nn.Conv2d(6, classes, 1)
        self.after = after

    def forward(self, x):
        y = nn.functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1)
        return y if self.after is None else self.after(y)


def twin(net: Net, head: nn.Module, after) -> Net:
    """The same network with two logits, (-z, z)."""
    two = Net(head).eval()
    state = net.state_dict()
    for name in ("head.last.weight", "head.last.bias"):
        if name in state:
            state[name] = torch.cat([-state[name], state[name]])
    two.load_state_dict(state)
    two.head.after = after
    return two


@pytest.fixture
def images():
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def pair(kind, after=None, after_two=None):
    torch.manual_seed(0)
    one = Net(kind(1, after)).eval()
    one.features[1].running_mean.normal_()
    return one, twin(one, kind(2), after_two)


HEADS = {
    "linear": (Pooled, None, None),
    "squeezed": (Pooled, lambda y: y.squeeze(1), None),
    "convolution": (Slid, None, None),
    "scaled": (Slid, lambda y: (y * 2 + 0.5)[:, 0], lambda y: y * 2 + torch.tensor([-0.5, 0.5])),
}
# Methods that see the model only from outside meet the same two logits whatever the head is.
OUTSIDE = {m for m in METHODS if METHODS[m].extra} | {"score_cam", "rise", "random", "center"}
ATTENTION = {"attention_rollout", "gradient_rollout"}  # which these networks have none of
SLOW = {"extremal_perturbation"}  # which calls the same function of the network as rise


@pytest.mark.parametrize(
    ("method", "head"),
    [(m, h) for m in METHODS if m not in SLOW | ATTENTION for h in HEADS if m not in OUTSIDE or h == "squeezed"],
)
def test_both_targets_are_those_of_the_network_with_two_logits(images, method, head):
    kind, after, after_two = HEADS[head]
    if METHODS[method].extra:
        pytest.importorskip(METHODS[method].extra)
    one, two = pair(kind, after, after_two)
    options = dict(FAST.get(method, {}))
    if kind is Slid and method in LAYERED:
        options["layer"] = "features.4"  # by default the map of logits, where the two sides have parted
    targets = [[0, 1], [1, 0], [0, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = attribute(one, images, targets, method, **options)
        expected = attribute(two, images, targets, method, **options)
    scale = expected.maps.abs().max()
    torch.testing.assert_close(found.maps, expected.maps, rtol=1e-4, atol=1e-5 * float(scale))
    assert found.logits.shape == (3, 1)
    torch.testing.assert_close(found.logits[:, 0], expected.logits[:, 1])


def test_target_one_is_the_logit(images):
    one, _ = pair(Pooled)
    maps = attribute(one, images, [[0, 1]] * 3, "gradient").maps
    leaf = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(one(leaf).sum(), leaf)
    torch.testing.assert_close(maps[:, 1], slope.sum(1))
    torch.testing.assert_close(maps[:, 0], -slope.sum(1))


def test_a_single_image_and_squeeze_without_a_dimension(images):
    one, _ = pair(Pooled, lambda y: y.squeeze())
    together = attribute(one, images, [0, 1, 1]).maps
    for i, target in enumerate((0, 1, 1)):
        torch.testing.assert_close(attribute(one, images[i : i + 1], [target]).maps[0], together[i])


def test_a_single_class_that_may_be_absent(images):
    one, two = pair(Pooled)
    maps = attribute(one, images, [0, 0, 0], binary=False).maps
    torch.testing.assert_close(maps, attribute(two, images, [1, 1, 1]).maps)
    with pytest.raises(TargetError, match=r"target 1 of image 2.*binary=False"):
        attribute(one, images, [0, 0, 1], binary=False)


def test_targets_out_of_range(images):
    one, _ = pair(Pooled, lambda y: y.squeeze(1))
    with pytest.raises(TargetError, match=r"target 2 of image 0.*0 to 1"):
        attribute(one, images, [2, 0, 1])


def test_rules_for_weights_are_not_guessed_behind_other_operations(images):
    one, _ = pair(Pooled, lambda y: y.exp())
    with pytest.raises(UnsupportedOpError, match="opposite"):
        attribute(one, images, [0, 0, 0], "excitation_backprop")
    maps = attribute(one, images, [[0, 1]] * 3, "hedge").maps
    assert maps.abs().amax((2, 3)).min() > 0


def test_logits_summed_over_the_batch_are_refused(images):
    one, _ = pair(Pooled, lambda y: y.sum(0))
    with pytest.raises(OutputError, match=r"\(1,\).*N=3.*first dimension"):
        attribute(one, images, [0, 1, 1])


@pytest.mark.parametrize("method", ["excitation_backprop", "contrastive_excitation_backprop", "relevance_cam"])
def test_a_layer_where_the_sides_have_parted(images, method):
    one, _ = pair(Slid)
    assert attribute(one, images, [0, 1, 1], method).layer == "features"
    with pytest.raises(LayerError, match=r"'head.last'.*'features'"):
        attribute(one, images, [0, 1, 1], method, layer="head.last")


def test_conservation_takes_both_sides(images):
    one, _ = pair(Pooled)
    steps = conservation(one, images, [[0, 1]] * 3, "lrp_epsilon")
    assert steps[-1].left.shape == (2, 3)
