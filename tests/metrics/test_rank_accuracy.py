import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgeseg.metrics import RankAccuracy, rank_accuracies


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_accuracy_equals_counting_the_top_pixels(seed):
    rng = np.random.default_rng(seed)
    maps = rng.permutation(3 * 9 * 13).reshape(3, 9, 13).astype(np.float32) - 100
    masks, valid = rng.random((3, 9, 13)) < 0.3, rng.random((3, 9, 13)) < 0.8
    expected = []
    for saliency, mask, keep in zip(maps, masks & valid, valid, strict=True):
        top = np.argsort(-saliency[keep])[: mask.sum()]
        expected.append(mask[keep][top].mean())
    values = rank_accuracies(*map(torch.from_numpy, (maps, masks, valid)))
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-6)


def test_ties_count_by_their_expectation():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0] = True
    assert rank_accuracies(torch.full((1, 4, 4), 2.0), masks).item() == 0.25
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, :2] = 1.0  # two sure hits; two seats for the two remaining of 14 tied pixels
    assert rank_accuracies(maps, masks).item() == pytest.approx((2 + 2 * 2 / 14) / 4)


def test_edge_cases():
    maps = torch.rand(3, 5, 5) - 2
    masks = torch.zeros(3, 5, 5, dtype=torch.bool)
    masks[1] = True
    masks[2, 3, 3] = True
    maps[2, 3, 3] = 0.0
    metric = RankAccuracy()
    metric.update(maps, masks)
    result = metric.compute()
    assert result["rank_accuracy"].item() == 1.0
    assert result["rank_accuracy_skipped"].item() == 2.0
    assert rank_accuracies(torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)).isnan().all()


def test_the_ranking_alone_counts():
    maps, masks = torch.rand(4, 16, 16), torch.rand(4, 16, 16) > 0.7
    assert torch.equal(rank_accuracies(maps, masks), rank_accuracies(maps.double().exp() * 9 - 40, masks).float())
