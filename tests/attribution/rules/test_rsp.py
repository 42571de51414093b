"""RSP's rule and starts against dense-matrix twins in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dense_layers import LAYERS, Layer, share

from hedgeseg.attribution.rules.linear import Convolution
from hedgeseg.attribution.rules.own_weights import BLOCK
from hedgeseg.attribution.rules.rsp import peak_normalised, relative_start, sectional
from hedgeseg.attribution.samples import Samples


@pytest.mark.parametrize("name", LAYERS)
def test_sectional(name):
    layer = Layer(name)

    def own_weights(v, p):
        """The matrix of the layer whose weights are the gradient of ``sum(p * (v W))``."""
        weight = layer.linear.weight.clone().requires_grad_()
        out = layer.linear.forward(torch.from_numpy(v).view(1, *layer.x.shape[1:]), weight)
        out.backward(torch.from_numpy(p).view(out.shape))
        twin = Layer(name)
        twin.linear = replace(twin.linear, weight=weight.grad)
        return twin.matrix

    def twin(x, r):
        v = np.maximum(x, 0)
        p, n = np.maximum(r, 0), np.maximum(-r, 0)
        c = share(v, own_weights(v, p), p) - share(v, own_weights(v, n), n)
        if name in ("fc", "1x1"):
            return c
        c = 2 * c
        return np.where(c != 0, c - (c.sum() - r.sum()) / (c != 0).sum(), 0)

    layer.agrees(sectional(layer.linear, layer.x, layer.r, samples=Samples(2)), twin)


def test_peak_normalised_keeps_the_sign_where_nothing_is_positive():
    maps = torch.tensor([[[[-4.0, 2.0]], [[-4.0, -1.0]]]])
    torch.testing.assert_close(
        peak_normalised([maps], [Samples(2)])[0], torch.tensor([[[[-2.0, 1.0]], [[-1.0, -0.25]]]])
    )


def test_relative_start_holds_each_label_against_the_others():
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 4, 3, 3, dtype=torch.float64, generator=g)
    (got,) = relative_start([maps], [Samples(maps.shape[1])])
    for t in range(3):
        for n in range(2):
            rel = 2 * maps[t, n] - sum(maps[m, n] for m in range(3) if m != t)
            p, q = rel.clamp(min=0), -rel.clamp(max=0)
            summed = (p / p.sum() - q / q.sum()).sum(0)
            up, down = summed.clamp(min=0), -summed.clamp(max=0)
            twin = (2 * up / up.sum() - down / down.sum()) / 4
            torch.testing.assert_close(got[t, n], twin.expand(4, 3, 3))
    torch.testing.assert_close(got.flatten(2).sum(-1), torch.ones(3, 2, dtype=torch.float64))


def test_a_1x1_convolution_of_many_places_is_what_it_is_in_one_piece():
    g = torch.Generator().manual_seed(0)
    outputs, side = 96, 40
    assert BLOCK // (2 * outputs) < side * side / 2  # several blocks, the last of them smaller
    weight = torch.randn(outputs, 5, 1, 1, dtype=torch.float64, generator=g)
    x = torch.randn(1, 5, side, side, dtype=torch.float64, generator=g)
    r = torch.randn(1, 1, outputs, side, side, dtype=torch.float64, generator=g)
    r[..., :3, :] = 0  # places without relevance,
    x[:, :, 5] = -1  # and places that nothing positive enters
    linear = Convolution(weight, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, tuple(x.shape))
    seen, wanted = x[0].clamp(min=0).flatten(1), 0
    for sign in (1, -1):
        p = (sign * r[0, 0]).clamp(min=0).flatten(1)
        own = p @ seen.T
        z = own @ seen
        wanted = wanted + sign * seen * (own.T @ torch.where(z > 0, p / z.clamp(min=1e-300), 0))
    got = sectional(linear, x, r, samples=Samples(1))
    torch.testing.assert_close(got.flatten(), wanted.flatten())
