"""A network that mixes the images of a batch is refused by every method, also by those that only run it."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute
from hedgeseg.attribution.errors import UnsupportedModelError

OUTSIDE = {
    "gradient": {},
    "smooth_grad": {"nt_samples": 2},
    "integrated_gradients": {"n_steps": 2},
    "deep_lift": {},
    "gradient_shap": {"n_samples": 2},
    "occlusion": {"window": 8},
    "rise": {"masks": 4, "cells": 3},
    "lime": {"n_samples": 8, "grid": 2},
    "extremal_perturbation": {"iterations": 2, "areas": (0.2,)},
}


class Net(nn.Module):
    def __init__(self, before):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.before = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 5), before

    def forward(self, x):
        return self.head(self.conv(self.before(x)).relu().mean((2, 3)))


MIXING = {
    "mean over the batch": lambda x: x - x.mean(0, keepdim=True),
    "scaled by the largest image": lambda x: x / x.abs().max(),
    "the last gets the first": lambda x: torch.cat([x[:-1], x[-1:] + x[:1] * (len(x) > 1)]),
}
APART = {
    "nothing": lambda x: x,
    "drawn at random": lambda x: x + torch.randn_like(x),
    "a fixed batch": lambda x: x.reshape(3, 3, 10, 10),
}


@pytest.fixture
def images():
    return torch.randn(3, 3, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", OUTSIDE)
@pytest.mark.parametrize("before", MIXING)
def test_networks_that_mix_images_are_refused(images, before, method):
    net = Net(MIXING[before]).eval()
    with pytest.raises(
        UnsupportedModelError, match=r"mixes the images of a batch \(the logits of image .*one per call"
    ):
        attribute(net, images, [0, 1, 2], method, **OUTSIDE[method])


@pytest.mark.parametrize("before", MIXING)
def test_one_image_alone_is_explained(images, before):
    assert attribute(Net(MIXING[before]).eval(), images[:1], [0], "gradient").maps.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("before", APART)
def test_others_are_not(images, before, dtype):
    net = Net(APART[before]).to(dtype).eval()
    assert attribute(net, images.to(dtype), [0, 1, 2], "gradient").maps.isfinite().all()


def test_rounding_under_autocast_is_no_mixing(images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attribute(Net(APART["nothing"]).eval(), images, [0, 1, 2], "gradient").maps.isfinite().all()
