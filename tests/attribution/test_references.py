"""Maps against `tests/references`, which an independent NumPy twin made: whoever has the repository can run these."""

import numpy as np
import pytest
import torch
from torch import nn

from hedgeseg import attribute

CLASSES = [[0, 1, 2], [0, 1, 2]]
DIGITS = {torch.float64: 1e-9, torch.float32: 2e-4}


@pytest.fixture(scope="module")
def reference(request):
    with np.load(request.config.rootpath / "tests" / "references" / "chain.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.fixture(params=DIGITS, ids=str)
def network(request, reference):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    ).to(request.param).eval()  # fmt: skip
    names = ("first", "bias_1", "second", "bias_2", "head", "bias_3")
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), names, strict=True):
            parameter.copy_(reference[name])
    return model, reference["images"].to(request.param), DIGITS[request.param]


def apart(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("number", "gamma"), [(0, 1.0), (1, 1.5)])
def test_hedge(network, reference, number, gamma):
    model, images, digits = network
    result = attribute(model, images, CLASSES, gamma=gamma)
    assert apart(result.logits, reference["logits"]) < digits
    assert apart(result.maps, reference["hedge"][:, :, number]) < digits


def test_lrp_epsilon(network, reference):
    model, images, digits = network
    assert apart(attribute(model, images, CLASSES, method="lrp_epsilon").maps, reference["lrp_epsilon"]) < digits


def test_grad_cam(network, reference):
    model, images, digits = network
    expected = nn.functional.interpolate(reference["grad_cam"], size=(8, 8), mode="bilinear")
    assert apart(attribute(model, images, CLASSES, method="grad_cam").maps, expected) < digits
