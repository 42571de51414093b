import pytest
import torch
from torchmetrics import MetricCollection

from hedgeseg.metrics import PointingGame, PositiveRatio, positive_ratios


def test_ratio_is_the_share_of_positive_pixels():
    maps = torch.randn(6, 13, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(positive_ratios(maps), torch.stack([(row > 0).float().mean() for row in maps]))


def test_zero_is_not_positive_and_neither_is_what_the_tolerance_covers():
    maps = torch.tensor([[[0.0, 1e-7, -2.0, 0.5]]])
    assert positive_ratios(maps).item() == 0.5
    assert positive_ratios(maps, zero_tolerance=1e-6).item() == 0.25


def test_edge_cases():
    maps = torch.stack([torch.zeros(4, 4), torch.full((4, 4), -1.0), torch.ones(4, 4)])
    assert positive_ratios(maps).tolist() == [0.0, 0.0, 1.0]
    assert positive_ratios(torch.ones(1, 1, 1)).item() == 1.0
    valid = torch.zeros(3, 4, 4, dtype=torch.bool)
    assert positive_ratios(maps, valid).isnan().all()
    valid[:, 0] = True
    maps[0, 0] = torch.tensor([1.0, -1.0, 0.0, 0.0])
    assert positive_ratios(maps, valid).tolist() == [0.25, 0.0, 1.0]


def test_masks_are_optional_and_change_nothing():
    maps = torch.randn(4, 8, 8)
    with_masks, without = PositiveRatio(num_classes=2), PositiveRatio(num_classes=2)
    with_masks.update(maps, torch.zeros(4, 8, 8, dtype=torch.bool), torch.tensor([0, 1, 1, 1]))
    without.update(maps, classes=torch.tensor([0, 1, 1, 1]))
    first, second = with_masks.compute(), without.compute()
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.testing.assert_close(first["positive_ratio"], (maps > 0).float().mean())


def test_valid_pixels_of_the_masks_size_count_by_area():
    maps = torch.tensor([[[1.0, -1.0, 2.0], [3.0, -2.0, -3.0]]])
    valid = torch.ones(1, 8, 12, dtype=torch.bool)
    valid[:, :4, 8:] = False  # the last pixel of the first row
    valid[:, 4:, :3] = False  # three quarters of the first of the second
    expected = positive_ratios(maps, torch.tensor([[[True, True, False], [False, True, True]]]))
    torch.testing.assert_close(positive_ratios(maps, valid), expected)
    assert positive_ratios(maps, valid[:, ::8, ::12]).item() == 0.5  # a coarser mask as well


def test_a_collection_takes_valid_pixels_of_the_masks_size():
    metrics = MetricCollection([PointingGame(tolerance=0), PositiveRatio()])
    maps = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    masks, valid = torch.zeros(3, 24, 18, dtype=torch.bool), torch.ones(3, 24, 18, dtype=torch.bool)
    masks[:, 4:12, 5:14], valid[:, 12:] = True, False
    metrics.update(maps, masks, valid=valid)
    assert metrics.compute()["positive_ratio"].item() == pytest.approx(float((maps[:, :3] > 0).float().mean()))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"\(1, H, W\)"):
        positive_ratios(torch.zeros(1, 4, 4), torch.ones(2, 8, 8, dtype=torch.bool))
    with pytest.raises(TypeError, match="bool"):
        positive_ratios(torch.zeros(1, 4, 4), torch.ones(1, 8, 8))
    with pytest.raises(ValueError, match="zero_tolerance must be in"):
        PositiveRatio(zero_tolerance=1.0)
