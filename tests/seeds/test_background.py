import numpy as np
import pytest
import torch

from hedgeseg.seeds.background import Band, Constant, Otsu, Percentile, Power, as_background, calibrate, cut, otsu_level


def scores(classes=3, height=20, width=24, seed=0):
    values = torch.rand(classes, height, width, generator=torch.Generator().manual_seed(seed))
    return values / values.amax((1, 2), keepdim=True)


def mask(rule, values, classes):
    return cut([calibrate(values, level) for level in rule.levels(values)], torch.tensor(classes))


def test_constant_is_the_argmax_with_a_constant_channel():
    values = scores()
    channels = torch.cat([torch.full((1, 20, 24), 0.6), values])
    assert torch.equal(mask(Constant(0.6), values, [0, 1, 2]), channels.argmax(0).to(torch.uint8))


def test_power_is_the_argmax_with_a_power_channel():
    values = scores()
    channels = torch.cat([(1 - values.amax(0, keepdim=True)) ** 0.5, values])
    assert torch.equal(mask(Power(0.5), values, [0, 1, 2]), channels.argmax(0).to(torch.uint8))


def test_band_follows_the_two_pass_rule():
    values = scores(2)
    low = torch.cat([torch.full((1, 20, 24), 0.3), values]).argmax(0)
    high = torch.cat([torch.full((1, 20, 24), 0.7), values]).argmax(0)
    expected = torch.where(high > 0, high, torch.where(low > 0, 255, 0)).to(torch.uint8)
    assert torch.equal(mask(Band(0.3, 0.7), values, [0, 1]), expected)


def test_extreme_levels():
    values = scores(1)
    assert int(mask(Constant(1.0), values, [0]).sum()) <= 1
    nothing = torch.zeros(1, 4, 4)
    assert int(mask(Constant(0.0), nothing, [0]).sum()) == 0


def test_calibrated_probabilities_sum_to_one():
    total = calibrate(scores(), torch.tensor(0.2)).sum(0)
    assert torch.allclose(total, torch.ones_like(total))


def test_otsu_equals_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    values = torch.cat([torch.randn(500) * 0.05 + 0.2, torch.randn(300) * 0.05 + 0.7]).clamp(0, 1)
    ours = otsu_level(values)
    theirs = filters.threshold_otsu(values.numpy(), nbins=256)
    width = float(values.max() - values.min()) / 256
    assert ours == pytest.approx(theirs, abs=width)


def test_otsu_of_a_constant_map_is_all_background():
    assert int(mask(Otsu(), torch.full((1, 5, 5), 0.3), [0]).sum()) == 0


def test_otsu_and_percentile_are_per_class():
    values = scores(2) * torch.tensor([1.0, 0.2]).view(2, 1, 1)
    assert Otsu().levels(values)[0].shape == (2, 1, 1)
    level = Percentile(75).levels(values)[0]
    share = (values > level).float().mean((1, 2))
    assert torch.allclose(share, torch.full((2,), 0.25), atol=0.01)


def test_names_numbers_and_errors():
    assert as_background(0.3) == Constant(0.3)
    assert as_background("power") == Power()
    assert as_background({"band": {"low": 0.3, "high": 0.5}}) == Band(0.3, 0.5)
    with pytest.raises(ValueError, match="one background rule"):
        as_background({"band": {}, "power": {}})
    with pytest.raises(ValueError, match="unknown background rule 'x'"):
        as_background("x")
    with pytest.raises(ValueError, match="low level"):
        Band(0.5, 0.2)
    with pytest.raises(ValueError, match="alpha"):
        Power(0)
    with pytest.raises(ValueError, match="percent"):
        Percentile(101)


def test_class_ids_of_the_mask():
    values = np.zeros((2, 1, 3), np.float32)
    values[0, 0, 1], values[1, 0, 2] = 1, 1
    assert mask(Constant(0.5), torch.from_numpy(values), [3, 19]).tolist() == [[0, 4, 20]]
