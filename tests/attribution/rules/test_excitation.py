"""Excitation backpropagation's rule against a dense-matrix twin in float64."""

import numpy as np
import pytest
from dense_layers import LAYERS, Layer, share

from hedgeseg.attribution.rules.excitation import contrast, excitation


@pytest.mark.parametrize("name", LAYERS)
def test_excitation(name):
    layer = Layer(name, positive=True)
    plus = np.maximum(layer.matrix, 0)
    layer.agrees(excitation(layer.linear, layer.x, layer.r), lambda x, p: share(x, plus, p))


@pytest.mark.parametrize("name", LAYERS)
def test_contrast(name):
    layer = Layer(name, positive=True)
    plus, dual = np.maximum(layer.matrix, 0), np.maximum(-layer.matrix, 0)
    got = contrast(layer.linear, layer.x, layer.r)
    layer.agrees(got, lambda x, p: share(x, plus, p) - share(x, dual, p))


def test_probability_is_conserved():
    layer = Layer("3x3", positive=True)
    p = layer.r.abs()
    got = excitation(layer.linear, layer.x + 0.1, p)
    np.testing.assert_allclose(got.flatten(2).sum(2), p.flatten(2).sum(2), rtol=1e-9)
    assert (got >= 0).all()
