import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from skimage.metrics import structural_similarity

from hedgeseg.metrics import spearman, ssim, top_overlap
from hedgeseg.metrics.similarity import average_ranks


def maps(seed, levels=10**6, size=(17, 23)):
    return np.random.default_rng(seed).integers(-levels, levels, (3, *size)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 10**6]))
def test_ranks_and_spearman_equal_scipy(seed, levels):
    first, second = maps(seed, levels), maps(seed + 1, levels)
    second[0] = first[0] * 3 + 1
    ranks = average_ranks(torch.from_numpy(first).flatten(1)).numpy()
    np.testing.assert_array_equal(ranks, [rankdata(row) for row in first.reshape(3, -1)])
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    values = spearman(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)


def test_spearman_of_a_constant_map_is_undefined():
    assert spearman(torch.ones(1, 4, 4), torch.rand(1, 4, 4)).isnan().all()
    assert spearman(torch.rand(2, 1, 1), torch.rand(2, 1, 1)).isnan().all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_ssim_equals_scikit_image(seed):
    first = maps(seed)
    second = first + maps(seed + 1, 10**6)
    unit = [(m - m.min((1, 2), keepdims=True)) / np.ptp(m, (1, 2), keepdims=True) for m in (first, second)]
    expected = [
        structural_similarity(a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(*(u.astype(np.float64) for u in unit), strict=True)
    ]
    values = ssim(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-5)


def test_ssim_edge_cases():
    flat = torch.full((1, 12, 12), 3.0)
    assert ssim(flat, flat).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(torch.rand(1, 8, 20), torch.rand(1, 8, 20))
    with pytest.raises(ValueError, match="differ in shape"):
        ssim(torch.rand(1, 12, 12), torch.rand(2, 12, 12))


def test_top_overlap_counts_the_strongest_pixels():
    ramp = torch.arange(100.0).view(1, 10, 10)
    assert top_overlap(ramp, ramp * 2 - 5).item() == 1.0
    assert top_overlap(ramp, -ramp).item() == 0.0
    assert top_overlap(ramp, ramp.roll(10), share=0.2).item() == pytest.approx(10 / 30)
    with pytest.raises(ValueError, match="share must be in"):
        top_overlap(ramp, ramp, share=0)


@pytest.mark.parametrize("function", [spearman, ssim, top_overlap])
def test_a_pair_does_not_depend_on_its_batch(function):
    first, second = torch.from_numpy(maps(0)), torch.from_numpy(maps(1))
    alone = torch.cat([function(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(function(first, second), alone, atol=1e-6, rtol=0)
