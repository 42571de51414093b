import math

import numpy as np
import pytest
import torch
from scipy import stats

from hedgeseg.metrics import (
    PointingGame,
    compare,
    compare_scores,
    confidence_interval,
    evaluate_maps,
    ratio_interval,
    score_maps,
    summarize,
)


def test_interval_of_independent_values_is_close_to_students():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)) + 3
    interval = confidence_interval(values, resamples=4000)
    low, high = stats.t.interval(0.95, 399, values.mean().item(), stats.sem(values.numpy()))
    assert interval.mean == pytest.approx(values.mean().item(), abs=1e-5)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.01)


def test_maps_of_one_image_are_drawn_together():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0)).repeat_interleave(8)
    images = torch.arange(50).repeat_interleave(8)
    apart, together = confidence_interval(values), confidence_interval(values, images)
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(math.sqrt(8), rel=0.15)


def test_class_mean_and_undefined_values():
    values = torch.tensor([1.0, 1.0, 1.0, 0.0, torch.nan])
    classes = torch.tensor([3, 3, 3, 7, 5])
    assert confidence_interval(values).mean == 0.75
    assert confidence_interval(values, classes=classes).mean == 0.5
    nothing = confidence_interval(torch.full((3,), torch.nan))
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.low)
    assert math.isnan(compare(values[:0], values[:0]).p_value)


def test_a_paired_difference_is_seen_where_intervals_overlap():
    generator = torch.Generator().manual_seed(0)
    difficulty = torch.randn(200, generator=generator)
    first = difficulty + 0.1 + 0.2 * torch.randn(200, generator=generator)
    intervals = [confidence_interval(values) for values in (first, difficulty)]
    assert intervals[0].low < intervals[1].high
    comparison = compare(first, difficulty)
    assert comparison.low > 0
    assert comparison.p_value < 0.01
    assert comparison.maps == 200
    mirrored = compare(difficulty, first)
    assert mirrored.difference == pytest.approx(-comparison.difference)
    assert compare(first, first).p_value == 1.0


def test_ratio_of_means_and_its_interval():
    generator = torch.Generator().manual_seed(0)
    below = 1 + torch.rand(200, generator=generator)
    above = 3 * below + torch.randn(200, generator=generator)
    above[7], below[9] = torch.nan, torch.nan
    both = ~(above.isnan() | below.isnan())
    interval = ratio_interval(above, below)
    assert interval.mean == pytest.approx(float(above[both].mean() / below[both].mean()))
    assert interval.low < 3 < interval.high
    # Both means are taken over the same images, so what they share leaves no spread.
    exact = ratio_interval(2 * below, below)
    assert exact.high - exact.low < 1e-9
    assert math.isnan(ratio_interval(torch.full((2,), torch.nan), torch.ones(2)).mean)
    with pytest.raises(ValueError, match="same maps"):
        ratio_interval(torch.ones(2), torch.ones(3))


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    values, state = torch.rand(30), torch.get_rng_state()
    assert confidence_interval(values, seed=1) == confidence_interval(values, seed=1)
    assert confidence_interval(values, seed=1) != confidence_interval(values, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="images must be one number per map"):
        confidence_interval(torch.rand(3), images=torch.arange(2))
    with pytest.raises(ValueError, match="level must be in"):
        confidence_interval(torch.rand(3), level=95)
    with pytest.raises(ValueError, match="different maps"):
        compare(torch.rand(3), torch.rand(4))


def scene():
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(12, 24, 24, dtype=torch.bool)
    masks[:, 5:15, 6:18] = True
    masks[3] = False
    noise = torch.randn(12, 24, 24, generator=generator)
    return noise + masks, noise, masks, torch.arange(12) % 3, torch.arange(12) // 2


def test_summary_agrees_with_the_metrics_and_its_batches():
    maps, _, masks, classes, images = scene()
    result = evaluate_maps(maps, masks, classes, images=images, tolerance=3, resamples=200)
    metric = PointingGame(3, tolerance=3)
    metric.update(maps, masks, classes)
    assert result["pointing_game"] == pytest.approx(metric.compute()["pointing_game"].item())
    assert result["pointing_game_micro"] == pytest.approx(metric.compute()["pointing_game_micro"].item())
    assert result["pointing_game_maps"] == 11
    for name in ("pointing_game", "positive_ratio", "outside_inside_ratio", "pixel_average_precision", "rank_accuracy"):
        assert result[f"{name}_low"] <= result[name] <= result[f"{name}_high"]
    parts = [score_maps(maps[i : i + 5], masks[i : i + 5], tolerance=3) for i in (0, 5, 10)]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    again = summarize(joined, classes, images, resamples=200)
    assert again.keys() == result.keys()
    np.testing.assert_allclose(list(again.values()), list(result.values()), rtol=1e-6)


def test_two_methods_compared():
    good, bad, masks, classes, images = scene()
    table = compare_scores(score_maps(good, masks), score_maps(bad, masks), classes, images)
    assert table["pixel_average_precision"].low > 0
    assert table["outside_inside_ratio"].high < 0
    assert table["pixel_average_precision"].maps == 11
