"""What all localisation metrics share: the update signature, batches, devices of states, inference mode, bad input."""

import copy
import pickle

import pytest
import torch
from torchmetrics import MetricCollection

from hedgeseg.metrics import OutsideInsideRatio, PixelAveragePrecision, PointingGame, PositiveRatio, RankAccuracy

NAMES = {
    PointingGame: "pointing_game",
    PositiveRatio: "positive_ratio",
    OutsideInsideRatio: "outside_inside_ratio",
    PixelAveragePrecision: "pixel_average_precision",
    RankAccuracy: "rank_accuracy",
}
every_metric = pytest.mark.parametrize("metric_class", NAMES, ids=NAMES.values())


def pairs(count=12, size=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(count, size, size, generator=generator)
    masks = torch.rand(count, size, size, generator=generator) > 0.7
    classes = torch.randint(0, 3, (count,), generator=generator)
    valid = torch.rand(count, size, size, generator=generator) > 0.1
    return maps, masks, classes, valid


def assert_same(first, second, **tolerance):
    assert first.keys() == second.keys()
    for key in first:
        torch.testing.assert_close(
            first[key], second[key], equal_nan=True, msg=lambda m, key=key: f"{key}: {m}", **tolerance
        )


@every_metric
def test_works_without_arguments_and_names_its_headline(metric_class):
    maps, masks, _, _ = pairs()
    metric = metric_class()
    metric.update(maps, masks)
    result = metric.compute()
    name = NAMES[metric_class]
    assert 0 <= result[name] <= 2
    assert result[f"{name}_maps"].item() == len(maps)
    assert all(isinstance(value, torch.Tensor) and value.is_floating_point() for value in result.values())


@every_metric
def test_a_map_does_not_depend_on_its_batch(metric_class):
    data = pairs()
    together, apart = metric_class(num_classes=3), metric_class(num_classes=3)
    together.update(*data)
    for i in range(len(data[0])):
        apart.update(*(tensor[i : i + 1] for tensor in data))
    assert_same(together.compute(), apart.compute(), rtol=1e-5, atol=1e-6)


@every_metric
def test_per_class_means_equal_scoring_each_class_alone(metric_class):
    maps, masks, classes, valid = pairs()
    name = NAMES[metric_class]
    metric = metric_class(num_classes=4)
    metric.update(maps, masks, classes, valid)
    per_class = metric.compute()[f"{name}_per_class"]
    for index in range(3):
        alone, chosen = metric_class(), classes == index
        alone.update(maps[chosen], masks[chosen], valid=valid[chosen])
        torch.testing.assert_close(per_class[index], alone.compute()[name])
    assert per_class[3].isnan()


@every_metric
def test_updates_in_inference_mode_can_be_continued_outside(metric_class):
    data = pairs()
    plain, mixed = metric_class(num_classes=3), metric_class(num_classes=3)
    for _ in range(3):
        plain.update(*data)
    with torch.inference_mode():
        mixed.reset()
        mixed.update(*(tensor.clone() for tensor in data))
    assert not any(state.is_inference() for state in mixed.metric_state.values())
    mixed.update(*data)
    with torch.inference_mode():
        mixed.update(*data)
        inside = mixed.compute()
    assert_same(plain.compute(), inside)
    mixed.reset()
    mixed.update(*data)


@every_metric
def test_nan_and_infinite_maps_are_named(metric_class):
    maps, masks, _, _ = pairs(4)
    maps[2, 3, 3] = torch.nan
    with pytest.raises(ValueError, match=r"maps\[2\] holds NaN"):
        metric_class().update(maps, masks)
    maps[1, 3, 3] = torch.inf
    with pytest.raises(ValueError, match=r"maps\[1\] holds infinity \(2 of 4"):
        metric_class().update(maps, masks)


@every_metric
def test_nothing_to_average_is_nan_with_a_warning(metric_class):
    metric = metric_class(num_classes=3)
    empty = torch.zeros(2, 5, 5, dtype=torch.bool)
    metric.update(torch.rand(2, 5, 5), empty, torch.tensor([0, 1]), valid=empty)
    metric.update(torch.rand(0, 5, 5), empty[:0], torch.zeros(0, dtype=torch.int64))
    with pytest.warns(UserWarning, match="2 were given"):
        result = metric.compute()
    name = NAMES[metric_class]
    assert result[name].isnan()
    assert result[f"{name}_skipped"].item() == 2.0


@every_metric
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_never_updated_is_nan_with_a_warning(metric_class):
    with pytest.warns(UserWarning, match="has no map to average"):
        assert metric_class().compute()[NAMES[metric_class]].isnan()


@every_metric
def test_half_precision_and_double_maps(metric_class):
    maps, masks, classes, valid = pairs()
    results = []
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        metric = metric_class(num_classes=3)
        metric.update(maps.bfloat16().to(dtype), masks, classes, valid)
        results.append(metric.compute())
    assert_same(results[0], results[1], rtol=0, atol=0)
    assert_same(results[1], results[2], rtol=1e-4, atol=1e-5)


@every_metric
def test_leaves_its_inputs_alone_and_needs_no_gradient(metric_class):
    maps, masks, classes, valid = pairs()
    maps.requires_grad_()
    before = [tensor.detach().clone() for tensor in (maps, masks, classes, valid)]
    metric = metric_class(num_classes=3)
    metric.update(maps, masks, classes, valid)
    assert all(torch.equal(old, new) for old, new in zip(before, (maps, masks, classes, valid), strict=True))
    assert not any(value.requires_grad for value in metric.compute().values())


@every_metric
def test_copies_pickles_and_resets(metric_class):
    data = pairs()
    metric = metric_class(num_classes=3)
    metric.update(*data)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert_same(twin.compute(), metric.compute(), rtol=0, atol=0)
    first = metric.compute()
    metric.reset()
    assert_same(metric(*data), first, rtol=0, atol=0)


@pytest.mark.parametrize("metric_class", [PointingGame, OutsideInsideRatio, PixelAveragePrecision, RankAccuracy])
def test_masks_are_checked(metric_class):
    maps, masks, _, _ = pairs(2)
    with pytest.raises(TypeError, match="masks must be a bool tensor"):
        metric_class().update(maps, masks.long())
    with pytest.raises(ValueError, match=r"masks must be \(2, H, W\)"):
        metric_class().update(maps, masks[:1])
    with pytest.raises(ValueError, match="valid must have the masks' shape"):
        metric_class().update(maps, masks, valid=torch.ones(2, 3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"maps must be \(B, H, W\)"):
        metric_class().update(maps[None], masks)
    with pytest.raises(TypeError, match="floating-point"):
        metric_class().update(masks, masks)


@pytest.mark.parametrize("metric_class", [PointingGame, OutsideInsideRatio, PixelAveragePrecision, RankAccuracy])
def test_maps_of_another_size_are_resized_bilinearly(metric_class):
    masks = pairs(4)[1]
    small = torch.randn(4, 7, 9, generator=torch.Generator().manual_seed(1))
    resized = torch.nn.functional.interpolate(small[:, None], size=masks.shape[1:], mode="bilinear")[:, 0]
    first, second = metric_class(), metric_class()
    first.update(small, masks)
    second.update(resized, masks)
    assert_same(first.compute(), second.compute(), rtol=0, atol=0)


def test_a_collection_keeps_different_metrics_apart():
    everywhere = torch.ones(2, 8, 8, dtype=torch.bool)
    maps = torch.zeros(2, 8, 8)
    maps[:, 4, 4] = 1.0
    near = torch.zeros(2, 8, 8, dtype=torch.bool)
    near[:, 4, 6] = True
    metrics = {
        "wide": PointingGame(tolerance=15),
        "narrow": PointingGame(tolerance=0),
        "rank": RankAccuracy(),
        "positive": PositiveRatio(zero_tolerance=0.5),
    }
    collection = MetricCollection(copy.deepcopy(metrics))
    for masks in (everywhere, near):  # the first batch leaves equal states
        collection.update(maps, masks)
        for metric in metrics.values():
            metric.update(maps, masks)
    for name, metric in metrics.items():
        assert_same(collection[name].compute(), metric.compute(), rtol=0, atol=0)
    assert collection["wide"].compute()["pointing_game"] == 1.0
    assert collection["narrow"].compute()["pointing_game"] == 0.5
