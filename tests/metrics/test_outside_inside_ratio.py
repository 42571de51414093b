import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgeseg.metrics import OutsideInsideRatio, outside_inside_ratios


def reference(saliency: np.ndarray, mask: np.ndarray, valid: np.ndarray, low=0, high=100) -> float:
    """Eq. 14 for one map in NumPy, float64."""
    values, inside = saliency[valid].astype(np.float64), mask[valid]
    bottom, top = np.percentile(values, [low, high])
    scaled = (values.clip(bottom, top) - bottom) / (top - bottom)
    return scaled[~inside].mean() / scaled[inside].mean()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-12, 1.0, 1e6]))
def test_ratios_equal_numpy(seed, scale):
    rng = np.random.default_rng(seed)
    maps = (rng.standard_normal((3, 12, 15)) ** 3 * scale).astype(np.float32)
    masks, valid = rng.random((3, 12, 15)) < 0.3, rng.random((3, 12, 15)) < 0.8
    ratios = outside_inside_ratios(*map(torch.from_numpy, (maps, masks, valid)))
    triples = list(zip(maps, masks, valid, strict=True))
    expected = {
        "outside_inside_ratio": [reference(*triple) for triple in triples],
        "outside_inside_ratio_clipped": [reference(*triple, 1, 99) for triple in triples],
        "outside_inside_ratio_positive": [reference(m.clip(0), k, v) for m, k, v in triples],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ratios[name].numpy(), values, rtol=2e-5, err_msg=name)


def half_mask(count=1, size=8):
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    masks[:, : size // 2] = True
    return masks


def test_contrast_changes_the_ratio_but_one_outlier_less_so_when_clipped():
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(1, 40, 40, generator=generator)
    masks = half_mask(size=40)
    maps[masks] += 0.3
    sharp = outside_inside_ratios(maps**3, masks)["outside_inside_ratio"]
    plain = outside_inside_ratios(maps, masks)
    assert sharp < plain["outside_inside_ratio"]
    maps[0, 0, 0] = -50.0
    outlier = outside_inside_ratios(maps, masks)
    assert outlier["outside_inside_ratio"] > 0.95
    torch.testing.assert_close(
        outlier["outside_inside_ratio_clipped"], plain["outside_inside_ratio_clipped"], atol=0.01, rtol=0
    )


@pytest.mark.parametrize("power", [0.3, 1.0, 3.0, 10.0])
def test_closed_form_of_two_levels_under_contrast(power):
    maps, masks = torch.full((1, 8, 8), 0.5), half_mask()
    maps[masks] = 1.0
    maps[0, -1, -1] = 0.0  # keeps the range at [0, 1]
    ratios = outside_inside_ratios(maps**power, masks)
    # The same ranking throughout: only contrast moves the ratio, from 0.79 to 0.001.
    assert ratios["outside_inside_ratio"].item() == pytest.approx(0.5**power * 31 / 32, rel=1e-5)
    maps = torch.where(masks, 1.0, 0.0)
    maps[0, -1, -1] = -49.0
    # One negative outlier lifts everything else towards 1: (31 * 49 / 50 + 0) / 32.
    assert outside_inside_ratios(maps, masks)["outside_inside_ratio"].item() == pytest.approx(31 * 49 / 50 / 32)


def test_constant_map_is_uninformative():
    ratios = outside_inside_ratios(torch.full((1, 8, 8), -3.0), half_mask())
    for name in ("outside_inside_ratio", "outside_inside_ratio_clipped", "outside_inside_ratio_positive"):
        assert ratios[name].item() == 1.0


def test_all_negative_map_has_no_positive_part_but_a_ranking():
    maps = -torch.arange(64.0).view(1, 8, 8) - 1
    ratios = outside_inside_ratios(maps, half_mask())
    assert ratios["outside_inside_ratio"] < 1
    assert ratios["outside_inside_ratio_positive"] == 1.0


def test_empty_full_and_infinite_are_skipped_and_counted():
    masks = torch.cat([half_mask(4), torch.zeros(1, 8, 8, dtype=torch.bool), torch.ones(1, 8, 8, dtype=torch.bool)])
    maps = torch.rand(6, 8, 8)
    maps[0] = torch.where(masks[0], 0.0, 1.0)  # at its minimum everywhere inside
    metric = OutsideInsideRatio()
    metric.update(maps, masks)
    result = metric.compute()
    assert result["outside_inside_ratio_skipped"].item() == 3.0
    assert result["outside_inside_ratio_maps"].item() == 3.0
    expected = [
        reference(m.numpy(), k.numpy(), np.ones((8, 8), bool)) for m, k in zip(maps[1:4], masks[1:4], strict=True)
    ]
    assert result["outside_inside_ratio"].item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_one_pixel_and_a_mask_of_one_pixel():
    assert outside_inside_ratios(torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool))[
        "outside_inside_ratio"
    ].isnan()
    masks = torch.zeros(1, 2, 2, dtype=torch.bool)
    masks[0, 0, 0] = True
    ratio = outside_inside_ratios(torch.tensor([[[4.0, 3.0], [0.0, 0.0]]]), masks)["outside_inside_ratio"]
    assert ratio.item() == 0.25


def test_ratio_of_means_differs_from_the_mean_of_ratios():
    masks = half_mask(2)
    maps = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(3))
    metric = OutsideInsideRatio()
    metric.update(maps, masks)
    result = metric.compute()
    parts = outside_inside_ratios(maps, masks)
    torch.testing.assert_close(
        result["outside_inside_ratio_of_means"], parts["outside_mean"].mean() / parts["inside_mean"].mean()
    )
    assert result["outside_inside_ratio_of_means"] != result["outside_inside_ratio"]
    torch.testing.assert_close(
        result["outside_inside_ratio_positive_of_means"],
        parts["outside_positive_mean"].mean() / parts["inside_positive_mean"].mean(),
    )
    assert not any(name.endswith("_mean") for name in result)


def test_wide_values_do_not_overflow():
    maps = torch.tensor([[[3e38, -3e38], [0.0, 0.0]]])
    masks = torch.tensor([[[True, False], [False, False]]])
    ratio = outside_inside_ratios(maps, masks)["outside_inside_ratio"]
    torch.testing.assert_close(ratio, torch.tensor([1 / 3]))
