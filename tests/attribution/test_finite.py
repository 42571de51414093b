"""What is not finite anywhere in a network is an error that names the operation and the image, never a finite map."""

import warnings

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution import METHODS
from hedgeseg.attribution.errors import NonFiniteError

NAN, INF = float("nan"), float("inf")


class Block(nn.Module):
    """A step of a network that some number may pass, or not."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, x):
        return self.step(x)


def network(step=None, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), Block(step or (lambda x: x)),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    ).to(dtype).eval()  # fmt: skip


@pytest.fixture
def images():
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def put(parameter, value):
    with torch.no_grad():
        parameter.view(-1)[0] = value


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "where", ["0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var", "4.weight", "8.weight", "8.bias"]
)
@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "gradient"])
def test_broken_weights_are_named(images, where, value, method):
    net = network()
    put(dict([*net.named_parameters(), *net.named_buffers()])[where], value)
    with pytest.raises(NonFiniteError, match=rf"\[0, 1, 2\].*module '{where[0]}'.*{where}"):
        attribute(net, images, [0, 1, 2], method)


@pytest.mark.parametrize("method", [m for m in METHODS if not METHODS[m].extra])
def test_no_method_makes_a_map_of_broken_weights(images, method):
    net = network()
    put(net[4].bias, -INF)  # which the ReLU behind it turns into 0
    with pytest.raises(NonFiniteError, match="module '4'"):
        attribute(net, images, [0, 1, 2], method)


SWALLOWING = {
    "relu": lambda x: (x / (x * 0)).clamp(max=-1).relu(),
    "relu6": lambda x: nn.functional.relu6(x.abs() / 0),
    "clamp": lambda x: torch.log(-x.abs() - 1).clamp(0, 1) + x,
    "nan_to_num": lambda x: torch.sqrt(-x.abs() - 1).nan_to_num() + x,
    "max_pool": lambda x: nn.functional.max_pool2d(-(x.abs() / 0), 3, 1, 1).clamp(min=-5),
    "where": lambda x: torch.where(x > 0, x, (x.abs() + 1) / 0 * 0),
    "division": lambda x: x / (1 + (x.abs() + 1) * INF),
    "sigmoid": lambda x: torch.sigmoid((x + 1) / 0) + x,
    "crop": lambda x: torch.cat([x, x / 0], 3)[..., :12],
    "every other": lambda x: nn.functional.conv2d(torch.stack([x, x / 0], 4).flatten(3), torch.eye(4)[..., None, None],
                                                  stride=(1, 2)),
    "exp": lambda x: torch.exp(-(x.abs() + 1) / 0) + x,
    "write": lambda x: (x * 1).index_put((torch.tensor([0]),), torch.zeros(())).add(overwritten(x)),
}  # fmt: skip


def overwritten(x):
    y = x / 0
    y.zero_()
    return y


@pytest.mark.parametrize("kind", SWALLOWING)
@pytest.mark.parametrize("method", ["hedge", "rap", "gradient"])
def test_what_an_operation_swallows_is_found(images, kind, method):
    with pytest.raises(NonFiniteError, match="module '3'"):
        attribute(network(SWALLOWING[kind]), images, [0, 1, 2], method)


@pytest.mark.parametrize("method", ["hedge", "gradient", "grad_cam"])
@pytest.mark.parametrize("targets", [[0, 1, 2], [[0], [1, 2], [0]]])
def test_the_image_is_named(images, method, targets):
    def step(x):  # overflows where the second image is bright
        return torch.exp((x.amax((1, 2, 3), keepdim=True) > 50).float() * 1e3).reciprocal() * x

    images[1, :, 3, 3] = 1000
    with pytest.raises(NonFiniteError, match=r"image\(s\) \[1\].*aten.exp in module '3' gives infinity"):
        attribute(network(step), images, targets, method)
    assert attribute(network(step), images[[0, 2]], [0, 1], method).maps.isfinite().all()


def test_half_precision_that_overflows(images):
    net = network()
    with torch.no_grad():
        net[0].weight.mul_(1e4)
        net[1].running_var.fill_(1e-4)
    with torch.autocast("cpu", torch.float16), pytest.raises(NonFiniteError, match="half precision"):
        attribute(net, images * 100, [0, 1, 2])


def test_masks_of_minus_infinity_and_large_numbers_are_no_fault(images):
    def masked(x):
        scores = x.flatten(2).masked_fill(x.flatten(2) < 0.1, -INF)
        scores = scores + torch.zeros(144).index_fill(0, torch.tensor([3]), -INF)
        return x * torch.softmax(scores.clamp(min=-1e30), -1).view_as(x) * 50 + x

    assert attribute(network(masked), images, [0, 1, 2]).maps.isfinite().all()
    large = network(lambda x: (x * 1e37).clamp(max=1e38) / 1e37)
    assert attribute(large, images, [0, 1, 2]).maps.isfinite().all()


def test_a_broken_branch_that_the_logits_do_not_depend_on(images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return {"logits": self.net(x), "aux": self.net(x).sum(1)}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert attribute(Two(), images, [0, 1, 2], output="logits").maps.isfinite().all()


class Quantised(nn.Module):
    """Its convolution's weights pass a function of the weights alone."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.function = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5), function

    def forward(self, x):
        weight = self.function(self.conv.weight)
        return self.head(nn.functional.conv2d(x, weight, self.conv.bias, padding=1).relu().mean((2, 3)))


HIDING = {
    "clamp": (lambda w: w.clamp(-1, 1), INF),
    "tanh": (torch.tanh, INF),
    "nan_to_num": (torch.nan_to_num, NAN),
    "where": (lambda w: torch.where(w > 0, w, 0.0), NAN),
    "hardtanh of a slice": (lambda w: torch.cat([nn.functional.hardtanh(w[:1]), w[1:]]), INF),
    "softmax of the inverse": (lambda w: (1 / w.flatten(1)).softmax(1).view_as(w), INF),
}


@pytest.mark.parametrize("function", HIDING)
@pytest.mark.parametrize("method", ["hedge", "grad_cam", "gradient"])
def test_weights_that_a_function_of_them_hides_are_named(images, function, method):
    net = Quantised(HIDING[function][0]).eval()
    put(net.conv.weight, HIDING[function][1])
    with pytest.raises(NonFiniteError, match=r"(NaN|infinity) in the weights 'conv\.weight'"):
        attribute(net, images, [0, 1, 2], method)


@pytest.mark.parametrize("method", ["hedge", "gradient"])
def test_constants_that_are_infinite_on_purpose_are_no_fault(images, method):
    def masked(w):
        mask = torch.full((9, 9), -INF).triu(1).softmax(1)  # as attention's mask
        scratch = torch.empty_like(w).fill_(NAN).zero_()
        return (w.flatten(2) @ mask).view_as(w) + scratch

    assert attribute(Quantised(masked).eval(), images, [0, 1, 2], method).maps.isfinite().all()


def test_a_buffer_that_is_not_finite_is_named():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
            self.register_buffer("scale", torch.tensor([1.0, 2.0, float("nan"), 1.0]))

        def forward(self, x):
            gains = self.scale * 2
            return self.head((self.conv(x) * gains.view(1, -1, 1, 1)).clamp(0, 1).mean((2, 3)))

    with pytest.raises(NonFiniteError, match="in the buffer 'scale'"):
        attribute(Scaled().eval(), torch.randn(1, 3, 8, 8), [0])
