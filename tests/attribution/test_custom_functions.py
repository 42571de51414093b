"""Autograd functions of a user's own: followed where their backward is that of their forward, refused elsewhere."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedOpError


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -ctx.factor * g, None


class NewStyleReversal(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return -g


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx, g):
        return g


class Autocast(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        return -g


class Swish(torch.autograd.Function):
    """Saves memory; its backward is right."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


class InPlaceRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.clamp_(min=0)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x > 0)


class Net(nn.Module):
    def __init__(self, early=lambda x: x, late=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)
        self.early, self.late = early, late

    def forward(self, x):
        y = self.early(self.first(x).relu() + 0.1)
        return self.head(self.late(self.last(y).relu()).mean((2, 3)))


WRONG = {
    "reversal": lambda x: Reversal.apply(x, 0.5),
    "new style": NewStyleReversal.apply,
    "straight through": StraightThrough.apply,
    "decorated": Autocast.apply,
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("method", ["hedge", "grad_cam", "guided_backprop", "full_grad", "lrp_epsilon"])
def test_a_backward_of_its_own_is_refused_by_name(images, kind, method):
    layer = "last" if method == "grad_cam" else None  # else the function would be before it
    with pytest.raises(UnsupportedOpError, match=r"backward of \w+ in the model's own forward.*gradient"):
        attribute(Net(late=WRONG[kind]).eval(), images, [0, 1], method, layer)


@pytest.mark.parametrize("kind", WRONG)
def test_it_is_of_no_account_before_the_layer(images, kind):
    assert attribute(Net(early=WRONG[kind]).eval(), images, [0, 1], "grad_cam").maps.abs().sum() > 0


def test_methods_that_call_the_backward_go_on(images):
    with_reversal = attribute(Net(late=WRONG["reversal"]).eval(), images, [0, 1], "gradient").maps
    torch.testing.assert_close(with_reversal, -0.5 * attribute(Net().eval(), images, [0, 1], "gradient").maps)


@pytest.mark.parametrize("method", ["hedge", "grad_cam", "guided_backprop", "full_grad"])
@pytest.mark.parametrize(
    ("custom", "plain"),
    [
        (Swish.apply, lambda x: x * torch.sigmoid(x)),
        (lambda x: InPlaceRelu.apply(x - 0.2), lambda x: (x - 0.2).clamp(min=0)),
    ],
    ids=["swish", "in place"],
)
def test_a_backward_that_is_right_is_followed(images, method, custom, plain):
    maps = attribute(Net(custom, custom).eval(), images, [0, 1], method).maps
    torch.testing.assert_close(maps, attribute(Net(plain, plain).eval(), images, [0, 1], method).maps)


def test_a_branch_that_the_logits_do_not_need(images):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.domain = Net(), nn.Linear(6, 2)

        def forward(self, x):
            y = self.net.last(self.net.first(x).relu()).relu().mean((2, 3))
            return {"logits": self.net.head(y), "domain": self.domain(Reversal.apply(y, 1.0))}

    maps = attribute(Two().eval(), images, [0, 1], output="logits").maps
    assert maps.abs().sum() > 0
