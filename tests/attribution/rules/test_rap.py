"""RAP's rules against dense-matrix twins in float64."""

import numpy as np
import pytest
import torch
from dense_layers import LAYERS, Layer, share

from hedgeseg.attribution.rules.rap import absolute_influence, absolute_proportion, relative_influence, shift_to
from hedgeseg.attribution.samples import Samples


def shifted(c, total):
    nonzero = c != 0
    return np.where(nonzero, c - (c.sum() - total) / max(1, nonzero.sum()), 0)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("positive", [True, False], ids=["after_relu", "mixed_signs"])
def test_relative_influence(name, positive):
    layer = Layer(name, positive)
    up, down = np.maximum(layer.matrix, 0), np.maximum(-layer.matrix, 0)

    def one_sign(v, r):
        z1, z2 = (up @ v) * (r != 0), (down @ v) * (r != 0)
        r = np.where(z1 + z2 == 0, 0, r)
        rp, rn = np.maximum(r, 0), np.minimum(r, 0)
        fraction = np.where(z1 + z2 == 0, 0, z2 / np.where(z1 + z2 == 0, 1, z1 + z2))
        c = share(v, up, rp) + share(v, down, rp * fraction) + share(v, down, rn * fraction)
        c += share(v, up, rn) if name == "fc" else share(v, down, rn)
        return shifted(c, r.sum())

    def twin(x, r):
        got = one_sign(np.maximum(x, 0), r)
        return got if positive else got + one_sign(np.maximum(-x, 0), r)

    layer.agrees(relative_influence(layer.linear, layer.x, layer.r, samples=Samples(2)), twin)


@pytest.mark.parametrize("positive", [True, False], ids=["after_relu", "mixed_signs"])
def test_absolute_influence_of_the_classifier(positive):
    layer = Layer("fc", positive)
    w, b = layer.matrix, layer.flat_bias
    start = torch.eye(4, dtype=torch.float64)[:3, None].expand(3, 2, 4).clone()
    layer.r = start

    def twin(x, r):
        t = int(r.argmax())
        c = x * w[t]
        pos, neg = np.maximum(c, 0).sum(), np.minimum(c, 0).sum()
        for part, total in ((np.maximum(w[t], 0), pos), (np.minimum(w[t], 0), neg)):
            entries = np.maximum(x, 0) * part
            if entries.sum() != 0:
                c = c + entries / entries.sum() * b[t] * total / (pos + neg)
        return np.abs(c) * c.sum() / np.abs(c).sum()

    got = absolute_influence(layer.linear, layer.x, start, samples=Samples(2), bias=layer.broadcast_bias)
    layer.agrees(got, twin)
    if positive:
        logits = layer.linear.forward(layer.x, layer.linear.weight) + layer.bias
        np.testing.assert_allclose(got.sum(-1), logits.T[:3], rtol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_absolute_proportion(name):
    layer = Layer(name)
    w = np.abs(layer.matrix)
    layer.agrees(absolute_proportion(layer.linear, layer.x, layer.r), lambda x, r: share(np.abs(x), w, r, 1e-9))


def test_the_shift_restores_the_sum_and_keeps_zeros():
    c = torch.tensor([[[1.0, 0.0, 3.0]]])
    assert shift_to(c, torch.tensor([[2.0]]), samples=Samples(1)).tolist() == [[[0.0, 0.0, 2.0]]]
    nothing = torch.zeros(1, 1, 3)
    assert shift_to(nothing, torch.tensor([[2.0]]), samples=Samples(1)).tolist() == nothing.tolist()
