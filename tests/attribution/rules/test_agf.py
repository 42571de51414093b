"""AGF's rules against dense-matrix twins in float64."""

import numpy as np
import pytest
import torch
from dense_layers import CONVOLUTIONS, Layer, share

from hedgeseg.attribution.rules.agf import factorise, guided_factorisation, plain, shift, through_flattening


def over(a, b):
    return np.where(b == 0, 0, a / np.where(b == 0, 1, b + 1e-9))


def dense_factorise(reference, c):
    """(C, positions) each; one value per position."""
    s = 1 / (1 + np.exp(-10 * over(reference, reference.max())))
    sign = c.mean(0)
    columns = [s[:, chosen].mean(1) if chosen.any() else np.zeros(len(s)) for chosen in (sign < 0, sign > 0)]
    b = np.stack(columns, 1)
    weights = np.maximum(np.linalg.inv(b.T @ b + np.eye(2)) @ b.T @ s, 0)
    return np.maximum(weights[1] - weights[0], 0)


def dense_shift(c, m):
    return np.where(c != 0, c + m - np.sum(m) / max(1, (c != 0).sum()), 0)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_guided_factorisation(name):
    layer = Layer(name)
    g = torch.randn(layer.r.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    w, channels = layer.matrix, layer.x.shape[1]
    g_in = torch.einsum("tno,oi->tni", g.flatten(2), torch.from_numpy(w)).view(3, *layer.x.shape)
    got = guided_factorisation(layer.linear, layer.x, layer.r, g, g_in)
    for t, n, x, phi in layer.cases():
        c = share(np.abs(x), np.abs(w), phi, 1e-9)
        reach = share(np.ones_like(x), np.abs(w), phi, 1e-9)
        gradient = g[t, n].flatten().numpy()
        m = np.maximum((x * (w.T @ gradient)).reshape(channels, -1).mean(0), 0)
        m = over(m, m.max())
        maps = [v.reshape(channels, -1) for v in (x, w.T @ (gradient * (phi != 0)), c)]
        from_input, from_gradient = dense_factorise(maps[0], maps[2]), dense_factorise(maps[1], maps[2])
        residual = (from_input + m) / (1 + np.exp(-maps[2])) + from_gradient + reach.reshape(channels, -1)
        twin = dense_shift(maps[2], residual * (maps[2] != 0))
        np.testing.assert_allclose(got[t, n].flatten(1).numpy(), twin, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(got.flatten(2).sum(-1), plain(layer.linear, layer.x, layer.r).flatten(2).sum(-1))


def test_through_flattening():
    layer = Layer("fc")
    shape = torch.Size((2, 2, 1, 3))
    g_in = torch.randn(3, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    got = through_flattening(layer.linear, layer.x, layer.r, g_in, shape)
    for t, n, x, phi in layer.cases():
        c = share(np.abs(x), np.abs(layer.matrix), phi, 1e-9)
        m = np.maximum((x * g_in[t, n].numpy()).reshape(2, 3).mean(0), 0)
        m = np.tile(over(m, m.max()), 2)
        np.testing.assert_allclose(got[t, n].numpy(), dense_shift(c, m * (c != 0)), rtol=1e-8, atol=1e-10)


def test_factorisation_without_one_of_the_signs_is_finite():
    reference = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    for c in (torch.zeros_like(reference), torch.ones_like(reference), -torch.ones_like(reference)):
        assert torch.isfinite(factorise(reference, c)).all()


def test_shift_moves_and_conserves():
    c = torch.tensor([[[1.0, 0.0, 3.0]]])
    torch.testing.assert_close(shift(c, torch.tensor([[[0.5, 0.0, 0.0]]])), torch.tensor([[[1.25, 0.0, 2.75]]]))
