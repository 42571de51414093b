import math

import pytest
import torch

from hedgeseg.audit.measures import placement, pooled_maps


def block(top, left, height=10, width=10, size=100):
    relevance = torch.zeros(size, size)
    relevance[top : top + height, left : left + width] = 1
    return relevance


def test_shares_of_a_corner_a_border_and_the_centre():
    maps = torch.stack([block(0, 0), block(0, 45), block(45, 45)])
    shares = placement(maps)
    assert shares["corners"].tolist() == pytest.approx([1, 0, 0])
    assert shares["border"].tolist() == pytest.approx([1, 1, 0])
    assert shares["centre"].tolist() == pytest.approx([0, 0, 1])


def test_negative_relevance_has_no_place():
    relevance = block(45, 45) - 5 * block(0, 0)
    assert placement(relevance[None])["centre"].item() == pytest.approx(1)


def test_entropy_is_one_for_an_even_map_and_zero_for_a_spot():
    spot = torch.zeros(70, 70)
    spot[3, 3] = 2.0
    entropy = placement(torch.stack([torch.ones(70, 70), spot]))["entropy"]
    assert entropy.tolist() == pytest.approx([1, 0], abs=1e-6)


def test_a_map_without_evidence_has_no_numbers():
    assert all(math.isnan(value.item()) for value in placement(-torch.ones(1, 20, 20)).values())


def test_numbers_of_a_map_do_not_depend_on_the_others():
    maps = torch.randn(5, 33, 47)
    together = placement(maps)
    for i in range(5):
        for name, value in placement(maps[i : i + 1]).items():
            assert value.item() == pytest.approx(together[name][i].item(), rel=1e-6)


def test_pooled_maps_keep_signs_and_have_unit_mass():
    small = pooled_maps(torch.stack([block(0, 0) - block(50, 50), torch.zeros(100, 100)]))
    assert small.shape == (2, 14, 14)
    assert small.abs().sum((1, 2)).tolist() == pytest.approx([1, 0])
    assert small[0, 0, 0] > 0 > small[0, 7, 7]
    assert pooled_maps(torch.rand(1, 6, 40)).shape == (1, 6, 14)
