"""What every metric says in every edge case, in one table; the same table is in docs/metrics.md.

NaN means not defined: such a map is left out of the mean and counted as skipped.
"""

import math

import pytest
import torch
from torch import nn

from hedgeseg.metrics import (
    ClassDiscrimination,
    Deletion,
    Insertion,
    MaxBoxAccV2,
    OutsideInsideRatio,
    PixelAveragePrecision,
    PointingGame,
    PositiveRatio,
    PxAP,
    RandomizationSanity,
    RankAccuracy,
    RegionInsertion,
    best_overlaps,
    map_components,
    outside_inside_ratios,
    pixel_average_precisions,
    pixel_histograms,
    pointing_hits,
    positive_ratios,
    probability_curves,
    rank_accuracies,
    region_insertions,
    spearman,
    ssim,
    top_overlap,
)

NAN = math.nan
SIZE = 16
LOCALISATION = {
    "pointing_game": lambda maps, masks, valid=None: pointing_hits(maps, masks, 1, valid),
    "pixel_average_precision": lambda *a: pixel_average_precisions(*a)["pixel_average_precision"],
    "two_channel": lambda *a: pixel_average_precisions(*a)["pixel_average_precision_two_channel"],
    "outside_inside_ratio": lambda *a: outside_inside_ratios(*a)["outside_inside_ratio"],
    "clipped": lambda *a: outside_inside_ratios(*a)["outside_inside_ratio_clipped"],
    "positive": lambda *a: outside_inside_ratios(*a)["outside_inside_ratio_positive"],
    "rank_accuracy": rank_accuracies,
    "positive_ratio": lambda maps, masks, valid=None: positive_ratios(maps, valid),
}
CASES = {
    #                          PG   AP    two   O/I  clip  pos  rank  PR
    "empty mask":             (NAN, NAN,  NAN,  NAN, NAN,  NAN, NAN,  1.0),
    "full mask":              (1.0, NAN,  NAN,  NAN, NAN,  NAN, NAN,  1.0),
    "constant map":           (1.0, 0.25, 0.5,  1.0, 1.0,  1.0, 0.25, 1.0),
    "map of zeros":           (1.0, 0.25, 0.5,  1.0, 1.0,  1.0, 0.25, 0.0),
    "negative, object least": (1.0, 1.0,  1.0,  0.0, 0.0,  1.0, 1.0,  0.0),
    "all void":               (NAN, NAN,  NAN,  NAN, NAN,  NAN, NAN,  NAN),
    "object void":            (NAN, NAN,  NAN,  NAN, NAN,  NAN, NAN,  1.0),
    "object at the minimum":  (0.0, None, None, NAN, NAN,  NAN, 0.0,  0.75),
}  # fmt: skip


def quarter():
    masks = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    masks[:, : SIZE // 4] = True
    return masks


def scene(case):
    """Map, mask and valid pixels."""
    maps, masks, valid = torch.full((1, SIZE, SIZE), 2.0), quarter(), torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    if case == "empty mask":
        masks[:] = False
    elif case == "full mask":
        masks[:] = True
    elif case == "map of zeros":
        maps[:] = 0.0
    elif case == "negative, object least":
        maps = torch.where(masks, -1.0, -3.0)
    elif case == "all void":
        valid[:] = False
    elif case == "object void":
        valid = ~masks
    elif case == "object at the minimum":
        maps = torch.where(masks, 0.0, 1.0)
    return maps, masks, valid


@pytest.mark.parametrize("case", CASES)
def test_localisation(case):
    for (name, function), expected in zip(LOCALISATION.items(), CASES[case], strict=True):
        if expected is not None:
            value = function(*scene(case)).item()
            assert value == pytest.approx(expected, abs=1e-6, nan_ok=True), (case, name)


@pytest.mark.parametrize("name", LOCALISATION)
def test_one_pixel_is_no_problem(name):
    maps, masks = torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)
    expected = {"pointing_game": 1.0, "positive_ratio": 0.0}.get(name, NAN)
    assert LOCALISATION[name](maps, masks).item() == pytest.approx(expected, nan_ok=True)


def test_boxes_components_and_pools():
    box = [torch.tensor([[2.0, 2.0, 9.0, 9.0]])]
    flat, negative = torch.full((1, SIZE, SIZE), 3.0), torch.where(quarter(), -1.0, -3.0)
    assert best_overlaps(flat, box).amax().item() == 0.0
    assert best_overlaps(negative, box).amax().item() > 0.0  # it has a ranking, so it has a box
    assert best_overlaps(flat, [torch.zeros(0, 4)]).isnan().all()
    assert best_overlaps(torch.zeros(1, 1, 1), [torch.tensor([[0.0, 0, 1, 1]])]).amax().item() == 0.0
    assert len(map_components(negative[0]).scores) == 0
    assert len(map_components(torch.ones(1, 1)).scores) == 1
    # A constant map counts as 0, a negative one by its ranking.
    assert pixel_histograms(flat, quarter(), bins=4)[1].tolist() == [64, 0, 0, 0, 0]
    assert pixel_histograms(negative, quarter(), bins=4)[1].tolist() == [0, 0, 0, 0, 64]
    assert pixel_histograms(flat, quarter(), quarter() & False, bins=4).sum() == 0


def test_pairs_of_maps():
    flat, ramp = torch.ones(1, SIZE, SIZE), torch.arange(float(SIZE**2)).view(1, SIZE, SIZE)
    assert spearman(flat, ramp).isnan().all()
    assert ssim(flat, flat).item() == pytest.approx(1.0)
    assert spearman(-ramp - 1, -ramp - 1).item() == pytest.approx(1.0)
    assert top_overlap(flat, flat).item() == 1.0  # ties in row-major order, the same in both


def answers(images):
    """Two logits, 0 and the mean brightness."""
    level = images.mean((1, 2, 3))
    return torch.stack([torch.zeros_like(level), level], 1)


@pytest.mark.parametrize("level", [0.0, 3.0, -3.0])
def test_a_constant_map_inserts_in_row_major_order(level):
    rows = torch.arange(float(SIZE**2)).flip(0).view(1, SIZE, SIZE)
    image = torch.rand(1, 3, SIZE, SIZE)
    for change in ("deletion", "insertion"):
        curves = [
            probability_curves(answers, image, maps, [1], change, "mean", steps=8)
            for maps in (torch.full((1, SIZE, SIZE), level), rows - 1000)
        ]
        torch.testing.assert_close(*curves)
    hits = [region_insertions(answers, image, maps, [1]) for maps in (torch.full((1, SIZE, SIZE), level), rows - 1000)]
    assert torch.equal(*hits)
    one = probability_curves(answers, image[:, :, :1, :1], torch.zeros(1, 1, 1), [1], "deletion", "mean", steps=2)
    assert one.shape == (1, 3)


def metrics_and_updates():
    """Every metric, with what it takes for a batch of maps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 2)).requires_grad_(False)
    images = torch.rand(2, 3, SIZE, SIZE)
    masks, targets = quarter().expand(2, -1, -1), torch.tensor([0, 1])
    boxes = [torch.tensor([[2.0, 2.0, 9.0, 9.0]])] * 2
    return {
        **{
            metric: (metric(num_classes=3), lambda maps, n: (maps, masks[:n], targets[:n]))
            for metric in (PointingGame, PixelAveragePrecision, OutsideInsideRatio, RankAccuracy, PositiveRatio)
        },
        PxAP: (PxAP(), lambda maps, n: (maps, masks[:n])),
        MaxBoxAccV2: (MaxBoxAccV2(), lambda maps, n: (maps, boxes[:n])),
        ClassDiscrimination: (ClassDiscrimination(), lambda maps, n: (maps, maps.flip(1))),
        **{
            metric: (metric(model), lambda maps, n: (images[:n], maps, targets[:n]))
            for metric in (RegionInsertion, Deletion, Insertion)
        },
        RandomizationSanity: (
            RandomizationSanity(model, lambda m, x, t: x.mean(1) * m[1].weight.mean()),
            lambda maps, n: (images[:n], targets[:n], maps),
        ),
    }


@pytest.mark.parametrize("metric_class", list(metrics_and_updates()))
def test_nan_is_an_error_and_nothing_is_nan_with_a_warning(metric_class):
    metric, arguments = metrics_and_updates()[metric_class]
    maps = torch.rand(2, SIZE, SIZE)
    maps[1, 3, 4] = NAN
    with pytest.raises(ValueError, match="NaN"):
        metric.update(*arguments(maps, 2))
    metric.reset()
    metric.update(*arguments(maps[:0], 0))
    with pytest.warns(UserWarning, match="no map to average"):
        result = metric.compute()
    assert next(iter(result.values())).isnan().all()


@pytest.mark.parametrize("metric_class", [PointingGame, PixelAveragePrecision, OutsideInsideRatio, RankAccuracy])
def test_an_absent_class_is_nan_and_left_out_of_the_mean(metric_class):
    metric, arguments = metrics_and_updates()[metric_class]
    metric.update(*arguments(torch.rand(2, SIZE, SIZE), 2))
    result = metric.compute()
    (name,) = (key for key in result if key.endswith("_per_class"))
    assert result[name].isnan().tolist() == [False, False, True]
    mean = result.get(name.replace("per_class", "class_mean"), result[name.removesuffix("_per_class")])
    assert mean.item() == pytest.approx(result[name][:2].mean().item())
