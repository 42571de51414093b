import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.seeds.confusion import confusion_counts, iou_parts, ious, miou_interval


def pair(seed=0, classes=4, ignore=True):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, classes + 1, (12, 13), generator=generator)
    truth = torch.randint(0, classes + 1, (12, 13), generator=generator)
    if ignore:
        truth[0] = 255
    return mask, truth


def test_ious_equal_torchmetrics():
    mask, truth = pair()
    index = MulticlassJaccardIndex(5, ignore_index=255, average="none")
    assert torch.allclose(ious(confusion_counts(mask, truth, 4)).float(), index(mask, truth))


def test_absent_classes_are_nan_not_zero():
    mask = torch.zeros(2, 2, dtype=torch.uint8)
    values = ious(confusion_counts(mask, mask, 3))
    assert float(values[0]) == 1
    assert torch.isnan(values[1:]).all()


def test_three_meanings_of_a_predicted_255():
    mask = torch.tensor([[1, 255, 0, 255]])
    truth = torch.tensor([[1, 1, 0, 0]])
    counts = confusion_counts(mask, truth, 1)
    assert ious(counts, "background").tolist() == pytest.approx([2 / 3, 1 / 2])
    assert ious(counts, "drop").tolist() == [1, 1]
    assert ious(counts, "miss").tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="background, drop or miss"):
        iou_parts(counts, "void")


def test_the_interval_holds_the_value_and_is_the_same_every_time():
    counts = torch.stack([confusion_counts(*pair(seed), 4) for seed in range(20)])
    low, high = miou_interval(counts)
    assert low < float(ious(counts.sum(0)).nanmean()) < high
    assert miou_interval(counts) == (low, high)


def test_wrong_sizes_and_labels_are_named():
    with pytest.raises(ValueError, match="pixels"):
        confusion_counts(torch.zeros(2, 3), torch.zeros(3, 2), 1)
    with pytest.raises(ValueError, match="label 9"):
        confusion_counts(torch.full((2, 2), 9), torch.zeros(2, 2), 3)
    with pytest.raises(ValueError, match="true mask"):
        confusion_counts(torch.zeros(2, 2), torch.from_numpy(np.full((2, 2), 9)), 3)
