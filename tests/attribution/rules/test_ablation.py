"""Hedging with terms left out: the parts add up to the whole, and each has the mass it should have."""

import pytest
import torch
from dense_layers import LAYERS, Layer

from hedgeseg.attribution.rules.ablation import TERMS, hedge_without, terms
from hedgeseg.attribution.rules.hedge import hedge
from hedgeseg.attribution.samples import Samples


def alone(layer, term, **options):
    return hedge_without(layer.linear, layer.x, layer.r, without=set(TERMS) - {term}, samples=Samples(2), **options)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{"gamma": 1.0}, {"gamma": 1.7, "unit_mass": True}, {"pointwise": True}], ids=str)
def test_the_terms_add_up_to_the_whole_rule(name, options):
    layer = Layer(name)
    whole = hedge(layer.linear, layer.x, layer.r, samples=Samples(2), **options)
    nothing_left_out = hedge_without(layer.linear, layer.x, layer.r, without=frozenset(), samples=Samples(2), **options)
    torch.testing.assert_close(nothing_left_out, whole)
    torch.testing.assert_close(sum(alone(layer, term, **options) for term in TERMS), whole)


def test_the_mass_of_every_term():
    layer = Layer("3x3")
    tau = layer.r.abs().flatten(2).sum(-1) / 2
    sums = {term: alone(layer, term, gamma=1.5).flatten(2).sum(-1) / tau for term in TERMS}
    for term, mass in {"C": 0.5, "A": 1.0, "U": -1.0, "Psi": -1.0}.items():
        torch.testing.assert_close(sums[term], torch.full_like(tau, mass))


def test_unknown_terms_are_named():
    assert terms("Psi") == {"Psi"}
    with pytest.raises(ValueError, match=r"'X'.*C, A, U, Psi"):
        terms(["C", "X"])
