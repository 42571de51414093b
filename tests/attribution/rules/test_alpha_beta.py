"""The LRP rules against dense-matrix twins in float64."""

import numpy as np
import pytest
from dense_layers import LAYERS, Layer, share

from hedgeseg.attribution.rules.alpha_beta import (
    alpha_beta_joint,
    alpha_beta_separate,
    epsilon_rule,
    relevance_cam_rule,
)
from hedgeseg.attribution.rules.proportional import stabilised

SIGNS = pytest.mark.parametrize("positive", [True, False], ids=["after_relu", "mixed_signs"])
EACH = pytest.mark.parametrize("name", LAYERS)


def parts(v):
    return np.maximum(v, 0), np.minimum(v, 0)


@EACH
@SIGNS
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_separate_denominators(name, positive, alpha):
    layer = Layer(name, positive)
    plus, minus = parts(layer.matrix)

    def twin(x, r):
        xp, xn = parts(x)
        gains = share(xp, plus, r) + share(xn, minus, r)
        return alpha * gains - (alpha - 1) * (share(xp, minus, r) + share(xn, plus, r))

    layer.agrees(alpha_beta_separate(layer.linear, layer.x, layer.r, alpha=alpha), twin)


@EACH
@SIGNS
@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_joint_denominators_with_bias(name, positive, alpha):
    layer = Layer(name, positive)
    w, (bp, bn) = layer.matrix, parts(layer.flat_bias)
    eps = 1e-3

    def twin(x, r):
        product = w * x
        (gain, loss), got = parts(product), np.zeros(len(x))
        for o in range(len(w)):
            up = gain[o].sum() + bp[o]
            down = loss[o].sum() + bn[o]
            up, down = up + eps, down + (-eps if down < 0 else eps)
            got += alpha * gain[o] / up * r[o] - (alpha - 1) * loss[o] / down * r[o]
        return got

    got = alpha_beta_joint(
        layer.linear, layer.x, layer.r, alpha=alpha, bias=layer.broadcast_bias, divide=stabilised(eps)
    )
    layer.agrees(got, twin)


@EACH
def test_epsilon(name):
    layer = Layer(name)
    w, b = layer.matrix, layer.flat_bias
    eps = 0.05

    def twin(x, r):
        z = w @ x + b
        z = z + np.where(z < 0, -eps, eps)
        return x * (w.T @ (r / z))

    layer.agrees(epsilon_rule(layer.linear, layer.x, layer.r, divide=stabilised(eps), bias=layer.broadcast_bias), twin)


@EACH
@SIGNS
def test_relevance_cam_counts_the_bias_twice(name, positive):
    layer = Layer(name, positive)
    w, b = layer.matrix, layer.flat_bias

    def twin(x, r):
        gain = np.maximum(w * x, 0)
        z = gain.sum(1) + 2 * b
        return gain.T @ np.where(z == 0, 0, r / np.where(z == 0, 1, z))

    layer.agrees(relevance_cam_rule(layer.linear, layer.x, layer.r, bias=layer.broadcast_bias), twin)


def test_positive_inputs_conserve_whatever_the_form():
    layer = Layer("3x3", positive=True)
    x, r = layer.x + 0.1, layer.r
    for got in (
        alpha_beta_separate(layer.linear, x, r, alpha=2.0),
        alpha_beta_joint(layer.linear, x, r, alpha=2.0),
        alpha_beta_joint(layer.linear, x, r, alpha=1.0),
    ):
        np.testing.assert_allclose(got.flatten(2).sum(2), r.flatten(2).sum(2), atol=1e-9)
