"""Networks that go through the frequency domain: gradients pass, everything else says that it does not."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedOpError


class Spectral(nn.Module):
    """A global filter: the spectrum times learned complex weights."""

    def __init__(self, mixing: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 12, 7, dtype=torch.complex64))
        self.channels = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64)) if mixing else None

    def forward(self, x):
        f = torch.fft.rfft2(x, norm="ortho") * self.weight
        if self.channels is not None:
            f = (f.permute(0, 2, 3, 1) @ self.channels).permute(0, 3, 1, 2)
        return torch.fft.irfft2(f, s=(12, 12), norm="ortho")


def magnitude(x):
    f = torch.fft.rfft2(x, norm="ortho")
    return torch.view_as_real(f).square().sum(-1).add(1e-3).sqrt() + f.abs() + f.real


def network(step):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), step, nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    ).eval()  # fmt: skip


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


STEPS = {"filter": Spectral, "mixing": lambda: Spectral(True), "magnitude": lambda: Function(magnitude)}


@pytest.fixture
def images():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("step", STEPS)
def test_without_rectifiers_guided_backpropagation_is_the_gradient(images, step):
    net = network(STEPS[step]())
    guided = attribute(net, images, [[0, 1], [2, 3]], "guided_backprop").maps
    torch.testing.assert_close(guided, attribute(net, images, [[0, 1], [2, 3]], "gradient").maps, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", STEPS)
def test_full_grad_and_grad_cam(images, step):
    net = network(STEPS[step]())
    assert attribute(net, images, [0, 1], "full_grad").maps.abs().sum() > 0
    cam = attribute(net, images, [0, 1], "grad_cam", layer="0").maps
    leaf = net[0](images).detach().requires_grad_()
    rows = net[1:](leaf).gather(1, torch.tensor([[0], [1]]))
    (slope,) = torch.autograd.grad(rows.sum(), leaf)
    torch.testing.assert_close(cam[:, 0], (slope.mean((2, 3), keepdim=True) * leaf).sum(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", ["hedge", "lrp_epsilon", "rap"])
def test_rules_for_weights_refuse_by_name(images, step, method):
    with pytest.raises(UnsupportedOpError, match=r"no rule for aten\.\w+ \(in module '2'"):
        attribute(network(STEPS[step]()), images, [0, 1], method)


def test_an_operation_that_torch_cannot_differentiate_is_named(images):
    steps = Function(lambda x: torch.heaviside(x, torch.tensor(0.5)) + torch.nextafter(x, x + 1))
    for method in ("guided_backprop", "full_grad"):
        with pytest.raises((UnsupportedOpError, RuntimeError), match=r"heaviside|nextafter"):
            attribute(network(steps), images, [0, 1], method)
