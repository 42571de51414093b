"""The hedging rule against a dense-matrix twin in float64, and its conservation law."""

import itertools
from itertools import pairwise

import numpy as np
import pytest
import torch
from dense_layers import convolution
from torch import nn

import hedgeseg.attribution.rules.hedge as hedge_module
from hedgeseg.attribution import conservation
from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.hedge import hedge, modulate
from hedgeseg.attribution.rules.linear import Dense
from hedgeseg.attribution.rules.workspace import Workspace
from hedgeseg.attribution.rules.zbeta import z_beta
from hedgeseg.attribution.samples import Samples
from hedgeseg.attribution.sweep import RESCALED_EVERY

CONVOLUTIONS = {
    "3x3": {"shape": (3, 2, 3, 3), "size": (5, 6), "padding": [1, 1]},
    "stride": {"shape": (3, 2, 3, 3), "size": (7, 6), "stride": [2, 3], "padding": [1, 0]},
    "dilation": {"shape": (2, 2, 3, 2), "size": (7, 7), "dilation": [2, 3], "padding": [2, 1]},
    "groups": {"shape": (4, 2, 3, 3), "size": (4, 4), "channels": 4, "groups": 2},
    "depthwise": {"shape": (4, 1, 3, 3), "size": (5, 4), "channels": 4, "groups": 4, "padding": [1, 1]},
    "1x1": {"shape": (3, 2, 1, 1), "size": (4, 4)},
    "1x3": {"shape": (3, 2, 1, 3), "size": (4, 5), "padding": [0, 1]},
    "transposed": {
        "shape": (2, 3, 3, 3),
        "size": (3, 4),
        "stride": [2, 2],
        "padding": [1, 1],
        "output_padding": [1, 0],
        "transposed": True,
    },
    "1d": {"shape": (3, 2, 3), "size": (9,), "padding": [1]},
    "3d": {"shape": (2, 2, 2, 3, 2), "size": (3, 4, 3), "padding": [0, 1, 0]},
}


def dense_matrix(linear, weight, features):
    """The map as a matrix, column by column."""
    columns = torch.eye(int(np.prod(features)), dtype=torch.float64).view(-1, *features)
    return linear.forward(columns, weight).flatten(1).T.numpy()


def dense_hedge(matrix, x, r, gamma, pointwise, unit_mass=False):
    """Eq. 6-13 with loops over single numbers: `matrix` is |W| (outputs x inputs), x and r one sample's vectors."""
    outputs, inputs = matrix.shape
    p, n = np.maximum(r, 0), np.minimum(r, 0)
    tau = 1.0 if unit_mass else np.abs(r).sum() / 2
    p = p * tau / p.sum() if p.sum() else p
    n = n * tau / -n.sum() if n.sum() else n

    def share(v, relevance):
        got = np.zeros(inputs)
        for o in range(outputs):
            z = sum(matrix[o, i] * v[i] for i in range(inputs))
            if z != 0:
                for i in range(inputs):
                    got[i] += v[i] * matrix[o, i] * relevance[o] / z
        return got

    plus, alpha, beta = np.maximum(x, 0), (x > 0).astype(float), (x <= 0).astype(float)
    c = share(plus, (1.0 if pointwise else gamma) * p) + share(plus, n)
    if not pointwise and (c != 0).any():
        c = np.where(c != 0, c - tau / (c != 0).sum(), 0)
    return c + share(alpha, p) + share(beta, n)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(("gamma", "unit_mass"), [(1.0, False), (1.7, True)])
def test_hedge_equals_its_dense_twin(name, gamma, unit_mass):
    g = torch.Generator().manual_seed(0)
    linear = convolution(**CONVOLUTIONS[name], generator=g)
    features = linear.input_shape[1:]
    x = torch.randn(2, *features, dtype=torch.float64, generator=g)
    x[0][torch.rand(x[0].shape, generator=g) < 0.4] = 0
    out = linear.forward(x, linear.weight)
    r = torch.randn(3, *out.shape, dtype=torch.float64, generator=g)
    r[1, 0] = r[1, 0].abs()  # one sign is missing
    pointwise = name == "1x1"
    got = hedge(linear, x, r, samples=Samples(2), gamma=gamma, pointwise=pointwise, unit_mass=unit_mass)
    matrix = dense_matrix(linear, linear.weight.abs(), features)
    for t, i in itertools.product(range(3), range(2)):
        twin = dense_hedge(matrix, x[i].flatten().numpy(), r[t, i].flatten().numpy(), gamma, pointwise, unit_mass)
        np.testing.assert_allclose(got[t, i].flatten().numpy(), twin, rtol=1e-9, atol=1e-12)


def test_hedge_of_a_dense_layer_sums_per_sample():
    g = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 3, dtype=torch.float64, generator=g)
    x = torch.randn(2 * 5, 4, dtype=torch.float64, generator=g)  # 2 images of 5 positions
    r = torch.randn(1, 10, 3, dtype=torch.float64, generator=g)
    got = hedge(Dense(weight), x, r, samples=Samples(2, inner=5), gamma=1.5)
    for i in range(2):
        rows = slice(5 * i, 5 * i + 5)
        alone = hedge(Dense(weight), x[rows], r[:, rows], samples=Samples(1), gamma=1.5)
        torch.testing.assert_close(got[:, rows], alone)


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_sum_law(gamma):
    g = torch.Generator().manual_seed(2)
    linear = convolution((3, 2, 3, 3), (6, 6), padding=[1, 1], generator=g)
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, generator=g)
    r = torch.randn(1, 1, 3, 6, 6, dtype=torch.float64, generator=g)
    tau = r.abs().sum() / 2
    got = hedge(linear, x, r, samples=Samples(1), gamma=gamma)
    torch.testing.assert_close(got.sum(), (gamma - 2) * tau)


def test_scale_equivariance():
    g = torch.Generator().manual_seed(3)
    linear = convolution((3, 2, 3, 3), (6, 6), generator=g)
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, generator=g)
    r = torch.randn(1, 1, 3, 4, 4, dtype=torch.float64, generator=g)
    torch.testing.assert_close(
        hedge(linear, x, 10 * r, samples=Samples(1)), 10 * hedge(linear, x, r, samples=Samples(1))
    )


def test_modulation_balances_the_signs_and_leaves_a_missing_one_at_zero():
    r = torch.tensor([[[1.0, 2.0, -6.0]], [[1.0, 3.0, 0.0]]])
    positive, negative, tau = modulate(r, samples=Samples(1), unit_mass=False)
    torch.testing.assert_close(tau, torch.tensor([[4.5], [2.0]]))
    torch.testing.assert_close(positive.sum(-1), tau)
    torch.testing.assert_close(negative.sum(-1), torch.tensor([[-4.5], [0.0]]))


def test_safe_divide_gives_zero_for_a_zero_divisor():
    got = safe_divide(torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.0, 4.0, 0.0]))
    assert got.tolist() == [0.0, -0.5, 0.0]


@pytest.mark.parametrize("name", ["3x3", "stride", "groups", "1d", "3d"])
def test_z_beta_equals_its_dense_twin_and_conserves(name):
    g = torch.Generator().manual_seed(4)
    linear = convolution(**CONVOLUTIONS[name], generator=g)
    features = linear.input_shape[1:]
    x = torch.randn(2, *features, dtype=torch.float64, generator=g)
    r = torch.randn(2, *linear.forward(x, linear.weight).shape, dtype=torch.float64, generator=g)
    got = z_beta(linear, x, r, samples=Samples(2))
    w = dense_matrix(linear, linear.weight, features)
    plus, minus = np.maximum(w, 0), np.minimum(w, 0)
    for t, i in itertools.product(range(2), range(2)):
        v, rel = x[i].flatten().numpy(), r[t, i].flatten().numpy()
        low, high = np.full_like(v, v.min()), np.full_like(v, v.max())
        s = rel / (w @ v - plus @ low - minus @ high)
        twin = v * (w.T @ s) - low * (plus.T @ s) - high * (minus.T @ s)
        np.testing.assert_allclose(got[t, i].flatten().numpy(), twin, rtol=1e-9)
    torch.testing.assert_close(got.flatten(2).sum(2), r.flatten(2).sum(2))


def test_the_report_has_one_unit_however_deep_the_network_is():
    torch.manual_seed(0)
    blocks = [step for _ in range(20) for step in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    steps = conservation(network, torch.randn(2, 3, 12, 12), [0, 1], gamma=1.0)
    assert len(steps) > 2 * RESCALED_EVERY
    for before, after in pairwise(steps):
        torch.testing.assert_close(after.arrived, before.left, rtol=1e-4, atol=0)


@pytest.mark.parametrize("pointwise", [False, True])
def test_a_large_layer_in_parts_is_the_whole(monkeypatch, pointwise):
    g = torch.Generator().manual_seed(0)
    linear = convolution(shape=(6, 3, 3, 3), size=(7, 8), channels=3, padding=[1, 1], stride=[2, 1])
    x = torch.randn(3, 3, 7, 8, generator=g, dtype=torch.float64)
    r = torch.randn(4, *linear.forward(x, linear.weight).shape, generator=g, dtype=torch.float64)
    whole = hedge(linear, x, r, samples=Samples(3), gamma=1.5, pointwise=pointwise)
    monkeypatch.setattr(hedge_module, "LARGE", 0)
    parts = hedge(linear, x, r, samples=Samples(3), gamma=1.5, pointwise=pointwise, workspace=Workspace())
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    copies = hedge(linear, torch.cat([x, x]), torch.cat([r, r], 1), samples=Samples(3), gamma=1.5, pointwise=pointwise)
    assert copies.shape == (4, 6, 3, 7, 8)
