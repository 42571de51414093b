import pytest
import torch

from hedgeseg.metrics import ClassDiscrimination, target_pairs


def test_pairs_of_targets_leave_out_missing_maps():
    maps = torch.rand(3, 3, 5, 5)
    maps[1, 2] = torch.nan
    maps[2, 1:] = torch.nan
    first, second = target_pairs(maps)
    assert torch.equal(first, torch.stack([maps[0, 0], maps[0, 0], maps[0, 1], maps[1, 0]]))
    assert torch.equal(second, torch.stack([maps[0, 1], maps[0, 2], maps[0, 2], maps[1, 1]]))
    assert len(target_pairs(maps[2:])[0]) == 0


def test_equal_unrelated_and_opposite_maps():
    ramp = torch.arange(400.0).view(1, 20, 20)
    shuffled = ramp.flatten()[torch.randperm(400, generator=torch.Generator().manual_seed(0))].view_as(ramp)
    expected = {"equal": (ramp * 3 - 9, 0.0, 1.0), "opposite": (-ramp, 2.0, 0.0)}
    for other, discrimination, overlap in expected.values():
        metric = ClassDiscrimination()
        metric.update(ramp, other)
        result = metric.compute()
        assert result["class_discrimination"].item() == pytest.approx(discrimination, abs=1e-6)
        assert result["class_discrimination_overlap"].item() == overlap
    metric = ClassDiscrimination()
    metric.update(ramp, shuffled)
    assert metric.compute()["class_discrimination"].item() == pytest.approx(1.0, abs=0.15)


def test_constant_maps_are_skipped_and_counted():
    metric = ClassDiscrimination(num_classes=2)
    metric.update(torch.stack([torch.ones(4, 4), torch.rand(4, 4)]), torch.rand(2, 4, 4), torch.tensor([0, 1]))
    result = metric.compute()
    assert result["class_discrimination_skipped"].item() == 1.0
    assert result["class_discrimination_per_class"].isnan().tolist() == [True, False]
