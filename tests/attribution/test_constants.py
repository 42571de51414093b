"""What a network does to its constants while it runs is followed, or said to be lost; never a map of other numbers."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import ChangedConstantError

METHODS = ["hedge", "lrp_epsilon", "guided_backprop", "grad_cam", "full_grad"]


class Masked(nn.Module):
    """`use` takes the features and a mask, `after` happens to the mask behind it."""

    def __init__(self, use, after, late: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)
        self.use, self.after, self.late = use, after, late

    def forward(self, x):
        mask = (torch.arange(12.0) % 3 / 2).expand(12, 12).clone()
        y = self.first(x).relu()
        if not self.late:
            y = self.use(y, mask)
            self.after(mask)
        y = self.last(y).relu()
        if self.late:
            y = self.use(y, mask)
            self.after(mask)
        return self.head(y.mean((2, 3)))


USES = {
    "product": lambda y, mask: y * mask,
    "where": lambda y, mask: torch.where(mask > 0.4, y, mask),
    "sum": lambda y, mask: y + mask,
    "into a constant": lambda y, mask: torch.ones(y.shape).mul_(y) * mask,
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("use", ["product", "sum"])
@pytest.mark.parametrize("method", METHODS)
def test_a_constant_that_is_overwritten_later_is_refused(images, method, use, late):
    net = Masked(USES[use], lambda mask: mask.zero_(), late).eval()
    if method == "grad_cam" and not late:
        attribute(net, images, [0, 1], method)  # which does not look before its layer
        return
    layer = "last" if method == "grad_cam" else None
    with pytest.raises(ChangedConstantError, match=r"\(12, 12\).*aten.(mul|add).*clone"):
        attribute(net, images, [0, 1], method, layer)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("method", METHODS)
def test_a_constant_that_stays_is_no_trouble(images, method, use, late):
    touched = attribute(Masked(USES[use], lambda mask: mask.clone().zero_(), late).eval(), images, [0, 1], method)
    plain = attribute(Masked(USES[use], lambda mask: None, late).eval(), images, [0, 1], method)
    torch.testing.assert_close(touched.maps, plain.maps)
    assert plain.maps.abs().sum() > 0


def test_a_product_written_into_a_constant_is_differentiated_by_what_the_constant_was(images):
    def into(y, mask):
        return (torch.full(y.shape, 3.0).mul_(y) * mask).add(y)

    net = Masked(into, lambda mask: None).eval()
    guided = attribute(net, images, [0, 1], "full_grad").maps
    plain = Masked(lambda y, mask: (y * 3.0 * mask).add(y), lambda mask: None).eval()
    torch.testing.assert_close(guided, attribute(plain, images, [0, 1], "full_grad").maps, rtol=1e-4, atol=1e-5)
