import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from hedgeseg.metrics import SeedCurve

CLASSES = 4


def seeds(count=5, rows=2, size=(12, 9), seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, rows, *size, generator=generator)
    classes = torch.stack([torch.randperm(CLASSES - 1, generator=generator)[:rows] for _ in range(count)])
    masks = torch.randint(0, CLASSES, (count, *size), generator=generator)  # class index 3 never occurs
    masks[:, 0, :4] = 255
    return scores, classes, masks


def labels_at(scores, classes, threshold):
    """The seed at one threshold, the plain way: background where nothing exceeds the threshold."""
    padded = torch.cat([torch.full_like(scores[:, :1], threshold), scores], 1)
    winner = padded.argmax(1)
    lookup = torch.cat([torch.zeros(len(classes), 1, dtype=torch.int64), classes + 1], 1)
    return lookup.gather(1, winner.flatten(1)).view_as(winner)


def test_every_threshold_equals_a_segmentation_scored_by_itself():
    scores, classes, masks = seeds()
    metric = SeedCurve(CLASSES, bins=16)
    metric.update(scores, classes, masks)
    result = metric.compute()
    keep = masks != 255
    for index in range(16):
        threshold = index / 16
        predicted = labels_at(scores, classes, threshold)
        matrix = np.zeros((CLASSES + 1, CLASSES + 1), dtype=np.int64)
        np.add.at(matrix, (masks[keep].numpy(), predicted[keep].numpy()), 1)
        assert np.array_equal(metric.confusion(threshold).numpy(), matrix)
        with np.errstate(invalid="ignore"):
            hit, true, guess = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
            iou = hit / (true + guess - hit)
            expected = {
                "miou": np.nanmean(iou),
                "foreground_miou": np.nanmean(iou[1:]),
                "background_iou": iou[0],
                "precision": np.nanmean((hit / guess)[1:]),
                "recall": np.nanmean((hit / true)[1:]),
                "coverage": guess[1:].sum() / guess.sum(),
                "over_activation": np.nanmean(((guess - hit) / (true + guess - hit))[1:]),
                "under_activation": np.nanmean(((true - hit) / (true + guess - hit))[1:]),
            }
        for name, value in expected.items():
            assert result[name][index].item() == pytest.approx(value, abs=1e-6), name
        jaccard = MulticlassJaccardIndex(CLASSES + 1, ignore_index=255)(predicted, masks)
        assert metric.miou_at(threshold).item() == pytest.approx(jaccard.item(), abs=1e-6)


def test_best_threshold_and_plateau():
    scores = torch.linspace(0, 1, 101)[None, None, None]  # one row of pixels
    masks = (scores[0, 0] > 0.5).long()[None]
    metric = SeedCurve(1, bins=100)
    metric.update(scores, torch.tensor([[0]]), masks)
    result = metric.compute()
    assert result["miou_best"].item() == 1.0
    assert result["threshold_best"].item() == pytest.approx(0.5)
    assert result["plateau"].item() == pytest.approx(0.01)
    assert result["iou_per_class"].tolist() == [1.0, 1.0]
    flat = SeedCurve(1, bins=100)
    flat.update(masks[:, None].float(), torch.tensor([[0]]), masks)
    assert flat.compute()["plateau"].item() == pytest.approx(1.0)
    assert flat.compute()["threshold_best"].item() == 0.0


def test_one_seed_at_a_time_equals_the_batch_and_padding_rows_change_nothing():
    scores, classes, masks = seeds()
    together, apart, padded = (SeedCurve(CLASSES, bins=32) for _ in range(3))
    together.update(scores, classes, masks)
    for triple in zip(scores, classes, masks, strict=True):
        apart.update(*triple)
    padded.update(
        torch.cat([scores, torch.full_like(scores[:, :1], torch.nan)], 1),
        torch.cat([classes, torch.full_like(classes[:, :1], -1)], 1),
        masks,
    )
    assert torch.equal(together.histogram, apart.histogram)
    assert torch.equal(together.histogram, padded.histogram)


def test_no_class_means_background_everywhere():
    metric = SeedCurve(CLASSES)
    metric.update(torch.zeros(0, 6, 6), torch.zeros(0, dtype=torch.int64), torch.zeros(6, 6, dtype=torch.int64))
    result = metric.compute()
    assert result["miou_best"].item() == 1.0
    assert result["coverage"].max().item() == 0.0
    assert result["precision"].isnan().all()


def test_absent_classes_do_not_pull_the_mean_down():
    metric = SeedCurve(num_classes=20, bins=4)
    masks = torch.zeros(4, 4, dtype=torch.uint8)
    masks[:2] = 8
    metric.update((masks == 8).float()[None], torch.tensor([7]), masks)
    result = metric.compute()
    assert result["miou_best"].item() == 1.0
    assert int(result["iou_per_class"].isnan().sum()) == 19


def test_counts_are_integers_beyond_float_precision():
    metric = SeedCurve(1, bins=2)
    metric.update(torch.ones(1, 2, 2), torch.tensor([0]), torch.ones(2, 2, dtype=torch.int64))
    metric.histogram = metric.histogram * 2**30
    metric.update(torch.ones(1, 1, 1), torch.tensor([0]), torch.ones(1, 1, dtype=torch.int64))
    assert metric.histogram.dtype == torch.int64
    assert int(metric.histogram.sum()) == 4 * 2**30 + 1


def test_nothing_counted_is_nan_with_a_warning():
    metric = SeedCurve(2, bins=4)
    metric.update(torch.ones(1, 2, 2), torch.tensor([0]), torch.full((2, 2), 255))
    with pytest.warns(UserWarning, match="counted no pixel"):
        result = metric.compute()
    assert result["miou_best"].isnan()


def test_arguments_are_checked():
    metric = SeedCurve(2)
    good = torch.ones(1, 2, 2), torch.tensor([0]), torch.ones(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\]"):
        metric.update(good[0] * 3, *good[1:])
    partly = good[0].clone()
    partly[0, 0, 1] = torch.nan
    with pytest.raises(ValueError, match=r"scores\[0, 0\] hold NaN at 1 pixels"):
        metric.update(partly, *good[1:])
    with pytest.raises(ValueError, match="hold the id 7"):
        metric.update(*good[:2], good[2] * 7)
    with pytest.raises(ValueError, match=r"classes must be in 0\.\.1"):
        metric.update(good[0], torch.tensor([2]), good[2])
    with pytest.raises(ValueError, match="do not fit together"):
        metric.update(good[0], torch.tensor([0, 1]), good[2])
    with pytest.raises(TypeError, match="integer ids"):
        metric.update(*good[:2], good[2] > 0)
    with pytest.raises(ValueError, match="threshold must be in"):
        metric.confusion(1.5)
